-- Gives jobs back that are to run again: at once, or after a while. Those that were begun but did nothing (handed back by a worker that stops,
-- or has too much) get their attempt back.
WITH back AS (
    SELECT * FROM unnest($2::uuid[], $3::int4[], $4::int8[], $5::text[], $6::bool[]) AS b (id, attempt, delay, error, unspent)
)
UPDATE forge_jobs j
SET state = CASE WHEN b.delay > 0 THEN 1 WHEN j.concurrency_key IS NOT NULL THEN 3 ELSE 0 END,
    run_at = CASE WHEN b.delay > 0 THEN clock_timestamp() + ($7::int8 + b.delay) * interval '1 microsecond' END,
    ready_at = CASE WHEN b.unspent THEN j.ready_at ELSE clock_timestamp() END,
    attempt = CASE WHEN b.unspent THEN j.attempt - 1 ELSE j.attempt END,
    worker = NULL, claimed_at = NULL,
    error = coalesce(b.error::json, j.error)
FROM back b
WHERE j.id = b.id AND j.state = 2 AND j.worker = $1 AND j.attempt = b.attempt
RETURNING j.id, j.kind, j.priority, j.state, j.ready_at, j.run_at, j.tracked
