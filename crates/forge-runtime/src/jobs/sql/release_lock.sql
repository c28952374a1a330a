-- One at a time lets jobs of these keys in. The locks are taken in one order, whoever takes which. Whoever does so need not wait for the disk: what a
-- crash of the server takes back, and with it all that came later, is let in again.
SELECT set_config('synchronous_commit', 'off', true), pg_advisory_xact_lock(ordered.lock)
FROM (SELECT DISTINCT hashtextextended(kind || ' ' || key, 0) AS lock FROM unnest($1::text[], $2::text[]) AS keys (kind, key) ORDER BY lock) AS ordered
