-- Deletes attempts whose window is over, 1,000 at a time, by the index on window_start.
-- $1 seconds of a window. Rows that another node deletes are skipped.
DELETE FROM forge_login_attempts WHERE key IN (
    SELECT key FROM forge_login_attempts WHERE window_start < now() - make_interval(secs => $1)
    ORDER BY window_start LIMIT 1000 FOR UPDATE SKIP LOCKED
)
