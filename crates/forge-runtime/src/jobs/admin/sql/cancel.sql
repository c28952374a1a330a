-- Cancels jobs, at most $9 of what is asked for ($1 to $8 as in count_live.sql), for the reason $10: those that wait end at once and become history, those that
-- run are asked to end. One row for each, in the order of their ids, in which they are locked.
WITH chosen AS MATERIALIZED (
    SELECT ARRAY(
        SELECT id FROM forge_jobs
        WHERE ($1::text IS NULL OR kind = $1) AND ($2::text IS NULL OR queue = $2) AND ($3::text IS NULL OR error ->> 'code' = $3)
          AND ($4::timestamptz IS NULL OR created_at >= $4) AND ($5::timestamptz IS NULL OR created_at < $5) AND id > $6 AND id <= $7
          AND ($8::text[] IS NULL
               OR CASE WHEN state = 2 THEN 'running' WHEN state = 1 AND error IS NOT NULL THEN 'retry' ELSE 'pending' END = ANY ($8))
          AND NOT (state = 2 AND cancel_requested)
        ORDER BY id LIMIT $9 FOR UPDATE
    ) AS ids
), gone AS (
    DELETE FROM forge_jobs WHERE id = ANY ((SELECT ids FROM chosen)::uuid[]) AND state <> 2 RETURNING *
), kept AS (
    INSERT INTO forge_jobs_done (id, kind, queue, status, priority, attempt, crashes, input, owner, trace, parent, error, created_at)
    SELECT id, kind, queue, 'cancelled', priority, attempt, crashes, input, owner, trace, parent,
           json_build_object('code', 'CANCELLED', 'message', $10::text), created_at
    FROM gone
), asked AS (
    UPDATE forge_jobs SET cancel_requested = true WHERE id = ANY ((SELECT ids FROM chosen)::uuid[]) AND state = 2
    RETURNING id, kind, concurrency_key, tracked
)
SELECT id, 'cancelled' AS became, kind, concurrency_key, tracked FROM gone
UNION ALL
SELECT id, 'cancelling', kind, concurrency_key, tracked FROM asked
ORDER BY id
