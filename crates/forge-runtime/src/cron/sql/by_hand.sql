-- Dispatches a run that somebody asks for, for the time that they name.
WITH decided AS (
    INSERT INTO forge_cron_runs (cron, slot, hand, job) VALUES ($1, $2, $3, $3)
), run AS (
    INSERT INTO forge_jobs (id, kind, queue, state, priority, input, owner, concurrency_key)
    VALUES ($3, $1, $5, CASE WHEN $7::text IS NULL THEN 0 ELSE 3 END, $6, $4::text::json, '{"system":true}', $7)
    RETURNING ready_at
)
SELECT ready_at FROM run
