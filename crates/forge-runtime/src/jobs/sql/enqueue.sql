-- Writes jobs down. One whose unique key a live job has is not written; the answer names that job instead. A job that is not due yet is
-- scheduled; one with a concurrency key waits until it is let in. One row per job, in their order, but for a job whose key was
-- taken by a transaction that this statement's snapshot does not see: it has none, and is to be asked for again. Unique keys are taken in their
-- order, so that two who write some of the same ones wait for each other one way only. Keys are looked up
-- one by one in forge_jobs_unique: a join would be planned as a scan of a table that was small once.
WITH job AS MATERIALIZED (
    SELECT j.*, clock_timestamp() + j.n * interval '1 microsecond' AS now, clock_timestamp() + ($13::int8 + j.delay) * interval '1 microsecond' AS due
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::int2[], $5::int8[], $6::timestamptz[], $7::text[], $8::text[], $9::text[],
                $10::uuid[], $11::text[], $12::text[])
        WITH ORDINALITY AS j (id, kind, queue, priority, delay, at, input, owner, trace, parent, unique_key, concurrency_key, n)
), written AS (
    INSERT INTO forge_jobs (id, kind, queue, state, priority, ready_at, run_at, input, owner, trace, parent, unique_key, concurrency_key)
    SELECT j.id, j.kind, j.queue,
           CASE WHEN coalesce(j.at, j.due) > clock_timestamp() + $13::int8 * interval '1 microsecond' THEN 1 WHEN j.concurrency_key IS NOT NULL THEN 3 ELSE 0 END,
           j.priority, j.now, coalesce(j.at, j.due), j.input::json, j.owner::json, j.trace, j.parent, j.unique_key, j.concurrency_key
    FROM job j ORDER BY j.kind, j.unique_key, j.n
    ON CONFLICT (kind, unique_key) WHERE unique_key IS NOT NULL DO NOTHING
    RETURNING id, kind, priority, state, ready_at, run_at
)
SELECT j.n, coalesce(w.id, before.id) AS id, w.id IS NOT NULL AS written, w.state, w.ready_at, w.run_at
FROM job j
LEFT JOIN written w ON w.id = j.id
LEFT JOIN LATERAL (
    SELECT b.id FROM forge_jobs b WHERE w.id IS NULL AND j.unique_key IS NOT NULL AND b.kind = j.kind AND b.unique_key = j.unique_key LIMIT 1
) before ON true
WHERE w.id IS NOT NULL OR before.id IS NOT NULL
ORDER BY j.n
