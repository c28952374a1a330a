-- Dead letters that nobody has looked after in time end; some at a time, past what somebody has the hands on. forge_jobs_dead_expires serves it.
DELETE FROM forge_jobs_dead
WHERE id = ANY (ARRAY(
    SELECT id FROM forge_jobs_dead WHERE expires_at < clock_timestamp() + $1::int8 * interval '1 microsecond'
    ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED
))
