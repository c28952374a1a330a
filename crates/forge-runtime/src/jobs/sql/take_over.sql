-- Gives the jobs of workers that are gone back: whatever runs on a node that is not alive. An attempt that ended so is not counted as one, but
-- as a crash; a job that has taken its worker down too often becomes a dead letter.
WITH lost AS MATERIALIZED (
    SELECT j.id, j.crashes + 1 >= $1 AS poison
    FROM forge_jobs j
    WHERE j.state = 2 AND NOT EXISTS (SELECT FROM forge_nodes n WHERE n.id = j.worker AND n.status <> 'dead')
    FOR UPDATE OF j SKIP LOCKED
), gone AS (
    DELETE FROM forge_jobs j USING lost l WHERE j.id = l.id AND l.poison RETURNING j.*
), dead AS (
    INSERT INTO forge_jobs_dead (id, kind, queue, priority, attempt, crashes, input, owner, trace, parent, unique_key, concurrency_key, saved,
                                 error, created_at, expires_at)
    SELECT id, kind, queue, priority, attempt, crashes + 1, input, owner, trace, parent, unique_key, concurrency_key, saved,
           json_build_object('code', 'JOB_POISON', 'message',
               format('its worker ended %s times while it ran; it is not begun again by itself', crashes + 1)),
           created_at, clock_timestamp() + $2::int8 * interval '1 microsecond'
    FROM gone
)
UPDATE forge_jobs j
SET state = CASE WHEN j.concurrency_key IS NOT NULL THEN 3 ELSE 0 END, worker = NULL, claimed_at = NULL, attempt = j.attempt - 1,
    crashes = j.crashes + 1
FROM lost l
WHERE j.id = l.id AND NOT l.poison
RETURNING j.id, j.kind, j.priority, j.ready_at, j.state, j.concurrency_key
