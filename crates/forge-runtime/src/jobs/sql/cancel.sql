-- Cancels a job: one that waits ends at once and becomes history, one that runs is asked to end. Answers what it was, and its worker.
WITH gone AS (
    DELETE FROM forge_jobs WHERE id = $1 AND state <> 2 RETURNING *
), kept AS (
    INSERT INTO forge_jobs_done (id, kind, queue, status, priority, attempt, crashes, input, owner, trace, parent, error, created_at)
    SELECT id, kind, queue, 'cancelled', priority, attempt, crashes, input, owner, trace, parent,
           json_build_object('code', 'CANCELLED', 'message', $2::text), created_at
    FROM gone
), asked AS (
    UPDATE forge_jobs SET cancel_requested = true WHERE id = $1 AND state = 2 RETURNING kind, concurrency_key, tracked
)
SELECT 'cancelled', kind, concurrency_key, tracked FROM gone
UNION ALL
SELECT 'cancelling', kind, concurrency_key, tracked FROM asked
