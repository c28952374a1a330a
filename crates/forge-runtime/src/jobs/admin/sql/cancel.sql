-- Cancels jobs, at most $9 of what is asked for ($1 to $8 as in count_live.sql), for the reason $10: those that wait end at once and become history, those that
-- run are asked to end, and give their unique keys away. Which of the two it is says each row once it is locked, as in ../../sql/cancel.sql. The first row has
-- how many were looked at, and the last of them; then one for each. They are locked in the order of their ids.
WITH chosen AS MATERIALIZED (
    SELECT id, state FROM forge_jobs
    WHERE ($1::text IS NULL OR kind = $1) AND ($2::text IS NULL OR queue = $2) AND ($3::text IS NULL OR error ->> 'code' = $3)
      AND ($4::timestamptz IS NULL OR created_at >= $4) AND ($5::timestamptz IS NULL OR created_at < $5) AND id > $6 AND id <= $7
      AND ($8::text[] IS NULL
           OR CASE WHEN state = 2 THEN 'running' WHEN state = 1 AND error IS NOT NULL THEN 'retry' ELSE 'pending' END = ANY ($8))
      AND NOT (state = 2 AND cancel_requested)
    ORDER BY id LIMIT $9 FOR UPDATE
), gone AS (
    DELETE FROM forge_jobs WHERE id = ANY (ARRAY(SELECT id FROM chosen WHERE state <> 2)) RETURNING *
), kept AS (
    INSERT INTO forge_jobs_done (id, kind, queue, status, priority, attempt, crashes, input, owner, trace, parent, error, created_at)
    SELECT id, kind, queue, 'cancelled', priority, attempt, crashes, input, owner, trace, parent,
           json_build_object('code', 'CANCELLED', 'message', $10::text), created_at
    FROM gone
), asked AS (
    UPDATE forge_jobs SET cancel_requested = true, unique_key = NULL WHERE id = ANY (ARRAY(SELECT id FROM chosen WHERE state = 2))
    RETURNING id, kind, concurrency_key, tracked
)
SELECT (SELECT id FROM chosen ORDER BY id DESC LIMIT 1) AS id, NULL::text AS became, NULL::text AS kind, NULL::text AS concurrency_key,
       NULL::boolean AS tracked, (SELECT count(*) FROM chosen) AS looked_at
UNION ALL
SELECT id, 'cancelled', kind, concurrency_key, tracked, NULL FROM gone
UNION ALL
SELECT id, 'cancelling', kind, concurrency_key, tracked, NULL FROM asked
