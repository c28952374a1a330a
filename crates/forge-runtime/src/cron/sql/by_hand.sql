-- Dispatches a run that somebody asks for, under a key: the nil one for the run of a time, of which there is one, whoever decides it; a key of its own for a
-- run besides. A time that was left out, as the last run was not finished, has none yet. Answers the run's job, whether this made it, and where it stands.
-- By primary key; waits for whoever decides the same time.
WITH decided AS (
    INSERT INTO forge_cron_runs AS r (cron, slot, hand, job) VALUES ($1, $2, $8, $3)
    ON CONFLICT (cron, slot, hand) DO UPDATE SET job = excluded.job, decided_at = clock_timestamp() WHERE r.job IS NULL
    RETURNING job
), run AS (
    INSERT INTO forge_jobs (id, kind, queue, state, priority, input, owner, concurrency_key)
    SELECT job, $1, $5, CASE WHEN $7::text IS NULL THEN 0 ELSE 3 END, $6, $4::text::json, '{"system":true}', $7 FROM decided
    RETURNING ready_at
)
SELECT job, true, (SELECT ready_at FROM run) FROM decided
