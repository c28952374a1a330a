-- Some keys that jobs wait for, from a place on, in order, and whether each has a place free, where its limit is known here; each is looked up by the
-- index, however many wait for it. That is read without the key's lock: whoever lets jobs in counts again. What is
-- ready (0) and what runs (2) is counted one by one, as both together are planned as a walk over all that wait when the table has just grown; and by
-- ranges, as other indexes than forge_jobs_keys could be used otherwise.
WITH RECURSIVE keys AS (
    (SELECT kind, concurrency_key, 1 AS n FROM forge_jobs
     WHERE concurrency_key IS NOT NULL AND state = 3 AND (kind, concurrency_key) > ($1, $2)
     ORDER BY kind, concurrency_key LIMIT 1)
    UNION ALL
    SELECT next.kind, next.concurrency_key, keys.n + 1
    FROM keys, LATERAL (
        SELECT kind, concurrency_key FROM forge_jobs
        WHERE concurrency_key IS NOT NULL AND state = 3 AND (kind, concurrency_key) > (keys.kind, keys.concurrency_key)
        ORDER BY kind, concurrency_key LIMIT 1
    ) next
    WHERE keys.n < $3
), known AS (
    SELECT keys.*, coalesce(($4::jsonb ->> keys.kind)::int8, 0) AS most FROM keys
)
SELECT kind, concurrency_key,
       (SELECT count(*) FROM (
            SELECT FROM forge_jobs j WHERE j.kind = known.kind AND j.concurrency_key = known.concurrency_key AND j.state < 1
            UNION ALL
            SELECT FROM forge_jobs j WHERE j.kind = known.kind AND j.concurrency_key = known.concurrency_key AND j.state > 1 AND j.state < 3
            LIMIT known.most) AS taken) < most
FROM known ORDER BY n
