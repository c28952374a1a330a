-- Some keys that jobs wait for, from a place on, in order; each is looked up by the index, however many wait for it.
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
)
SELECT kind, concurrency_key FROM keys
