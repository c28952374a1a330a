-- Ends jobs that failed for good, or were cancelled. The former become dead letters, the latter history. What is special about each is in one
-- object, by id.
WITH gone AS (
    DELETE FROM forge_jobs
    WHERE id = ANY ($2::uuid[]) AND worker = $1 AND claims = ($3::jsonb -> id::text -> 'claim')::int4
    RETURNING *, ($3::jsonb -> id::text -> 'error')::json AS why, ($3::jsonb -> id::text ->> 'retain')::int8 AS retain
), dead AS (
    INSERT INTO forge_jobs_dead (id, kind, queue, priority, attempt, claims, crashes, input, owner, trace, parent, unique_key, concurrency_key, saved,
                                 error, created_at, expires_at)
    SELECT id, kind, queue, priority, attempt, claims, crashes, input, owner, trace, parent, unique_key, concurrency_key, saved, why, created_at,
           clock_timestamp() + retain * interval '1 microsecond'
    FROM gone WHERE retain IS NOT NULL
), kept AS (
    INSERT INTO forge_jobs_done (id, kind, queue, status, priority, attempt, crashes, worker, input, owner, trace, parent, error,
                                 created_at, started_at)
    SELECT id, kind, queue, 'cancelled', priority, attempt, crashes, worker, input, owner, trace, parent, why, created_at, claimed_at
    FROM gone WHERE retain IS NULL
)
SELECT id, tracked FROM gone
