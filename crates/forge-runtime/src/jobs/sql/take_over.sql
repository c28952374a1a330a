-- Gives the jobs of workers that are gone back: whatever runs on a node that is not alive. An attempt that ended so is not counted as one, but
-- as a crash, unless its worker was only cut off from the database; a job that has taken its worker down too often in a row becomes a dead letter, for as long as its kind says, or for $2 when it is not known here.
-- forge_jobs_running serves it.
WITH lost AS MATERIALIZED (
    SELECT ARRAY(
        SELECT j.id FROM forge_jobs j
        WHERE j.state = 2 AND NOT EXISTS (SELECT FROM forge_nodes n WHERE n.id = j.worker AND n.status <> 'dead')
        ORDER BY j.id
        FOR UPDATE OF j SKIP LOCKED
    ) AS ids
), gone AS (
    DELETE FROM forge_jobs WHERE id = ANY ((SELECT ids FROM lost)::uuid[]) AND crashes + 1 >= $1 AND NOT EXISTS (SELECT FROM forge_nodes n WHERE n.id = forge_jobs.worker AND n.cut_off)
    RETURNING *
), dead AS (
    INSERT INTO forge_jobs_dead (id, kind, queue, priority, attempt, claims, crashes, input, owner, trace, parent, unique_key, concurrency_key, saved,
                                 error, created_at, expires_at)
    SELECT id, kind, queue, priority, attempt, claims, crashes + 1, input, owner, trace, parent, unique_key, concurrency_key, saved,
           json_build_object('code', $3::text, 'message',
               format('its worker ended %s times while it ran; it is not begun again by itself', crashes + 1)),
           created_at, clock_timestamp() + coalesce(($4::jsonb ->> kind)::int8, $2::int8) * interval '1 microsecond'
    FROM gone
), back AS (
    UPDATE forge_jobs
    SET state = CASE WHEN concurrency_key IS NOT NULL THEN 3 ELSE 0 END, ready_at = clock_timestamp(), worker = NULL, claimed_at = NULL,
        attempt = attempt - 1, crashes = crashes + (NOT EXISTS (SELECT FROM forge_nodes n WHERE n.id = forge_jobs.worker AND n.cut_off))::int
    WHERE id = ANY ((SELECT ids FROM lost)::uuid[]) AND NOT (crashes + 1 >= $1 AND NOT EXISTS (SELECT FROM forge_nodes n WHERE n.id = forge_jobs.worker AND n.cut_off))
    RETURNING id, kind, priority, ready_at, concurrency_key, tracked
)
SELECT id, kind, priority, ready_at, concurrency_key, tracked, false AS poison FROM back
UNION ALL
SELECT id, kind, priority, NULL, concurrency_key, tracked, true FROM gone
