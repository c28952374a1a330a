-- Cancels a job: one that waits ends at once and becomes history, one that runs is asked to end, and gives its unique key away, as its work may be
-- dispatched anew. Answers what it was. Which of the two it is says the row once it is locked: whoever had it meanwhile (a claim) has committed
-- by then, and this statement's own snapshot does not see that. By primary key.
WITH chosen AS MATERIALIZED (
    SELECT id, state FROM forge_jobs WHERE id = $1 FOR UPDATE
), gone AS (
    DELETE FROM forge_jobs WHERE id = ANY (ARRAY(SELECT id FROM chosen WHERE state <> 2)) RETURNING *
), kept AS (
    INSERT INTO forge_jobs_done (id, kind, queue, status, priority, attempt, crashes, input, owner, trace, parent, error, created_at)
    SELECT id, kind, queue, 'cancelled', priority, attempt, crashes, input, owner, trace, parent,
           json_build_object('code', 'CANCELLED', 'message', $2::text), created_at
    FROM gone
), asked AS (
    UPDATE forge_jobs SET cancel_requested = true, unique_key = NULL WHERE id = ANY (ARRAY(SELECT id FROM chosen WHERE state = 2))
    RETURNING kind, concurrency_key, tracked
)
SELECT 'cancelled', kind, concurrency_key, tracked FROM gone
UNION ALL
SELECT 'cancelling', kind, concurrency_key, tracked FROM asked
