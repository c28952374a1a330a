-- Ends jobs that failed for good, or were cancelled. The former become dead letters, the latter history.
WITH ended AS (
    SELECT * FROM unnest($2::uuid[], $3::int4[], $4::text[], $5::int8[]) AS e (id, attempt, error, retain)
), gone AS (
    DELETE FROM forge_jobs j USING ended e
    WHERE j.id = e.id AND j.state = 2 AND j.worker = $1 AND j.attempt = e.attempt
    RETURNING j.*, e.error AS why, e.retain
), dead AS (
    INSERT INTO forge_jobs_dead (id, kind, queue, priority, attempt, crashes, input, owner, trace, parent, unique_key, concurrency_key, saved,
                                 error, created_at, expires_at)
    SELECT id, kind, queue, priority, attempt, crashes, input, owner, trace, parent, unique_key, concurrency_key, saved, why::json, created_at,
           clock_timestamp() + retain * interval '1 microsecond'
    FROM gone WHERE retain IS NOT NULL
), kept AS (
    INSERT INTO forge_jobs_done (id, kind, queue, status, priority, attempt, crashes, worker, input, owner, trace, parent, error,
                                 created_at, started_at)
    SELECT id, kind, queue, 'cancelled', priority, attempt, crashes, worker, input, owner, trace, parent, why::json, created_at, claimed_at
    FROM gone WHERE retain IS NULL
)
SELECT id, tracked FROM gone
