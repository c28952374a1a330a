-- Decides a time of a cron: dispatches its run, unless somebody else has decided it, or, with $7, the last run is not finished. All of it is fenced by
-- the leader's term. Answers the job that was dispatched, and where it is to be found; no row at all says that somebody else leads. Whether the last
-- run is finished is looked up in forge_jobs_keys: the runs of a cron that is not to overlap have the empty key. By the kind alone it would take a scan of all jobs.
WITH leads AS MATERIALIZED (
    SELECT term FROM forge_leaders WHERE role = $1 AND term = $2 FOR SHARE
), busy AS (
    SELECT $7 AND EXISTS (SELECT FROM forge_jobs WHERE kind = $3 AND concurrency_key = '') AS is
), decided AS (
    INSERT INTO forge_cron_runs (cron, slot, job)
    SELECT $3, $4, CASE WHEN busy.is THEN NULL ELSE $5::uuid END FROM leads, busy
    ON CONFLICT DO NOTHING
    RETURNING job
), run AS (
    INSERT INTO forge_jobs (id, kind, queue, state, priority, input, owner, concurrency_key)
    SELECT job, $3, $8, CASE WHEN $10::text IS NULL THEN 0 ELSE 3 END, $9, $6::text::json, '{"system":true}', $10
    FROM decided WHERE job IS NOT NULL
    RETURNING ready_at
), on_ AS (
    UPDATE forge_crons SET last_slot = greatest(last_slot, $4) FROM leads WHERE name = $3
)
SELECT (SELECT count(*) FROM decided) > 0, (SELECT ready_at FROM run) FROM leads
