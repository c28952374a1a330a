-- Deletes sessions that ended more than 30 days ago, 1,000 at a time, by the index on expires_at.
-- Until then they can be looked at, and the reuse of their tokens can be told. Rows that another node deletes are skipped.
DELETE FROM forge_sessions WHERE id IN (
    SELECT id FROM forge_sessions WHERE expires_at < now() - interval '30 days'
    ORDER BY expires_at LIMIT 1000 FOR UPDATE SKIP LOCKED
)
