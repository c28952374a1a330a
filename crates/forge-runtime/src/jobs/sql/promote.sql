-- Makes jobs ready whose time has come, at most so many. Answers which lanes they are in, and, in a row of its own, how long it is until the next
-- one is due, in microseconds. forge_jobs_scheduled serves both.
WITH ready AS (
    UPDATE forge_jobs
    SET state = CASE WHEN concurrency_key IS NOT NULL THEN 3 ELSE 0 END, ready_at = clock_timestamp()
    WHERE id = ANY (ARRAY(
        SELECT id FROM forge_jobs WHERE state = 1 AND run_at <= clock_timestamp() + $1::int8 * interval '1 microsecond'
        ORDER BY run_at LIMIT $2 FOR UPDATE SKIP LOCKED
    ))
    RETURNING id, kind, priority, state, ready_at, concurrency_key
)
SELECT kind, priority, state, min(ready_at), concurrency_key, NULL::int8 FROM ready GROUP BY kind, priority, state, concurrency_key
UNION ALL
SELECT NULL, NULL, NULL, NULL, NULL,
       (SELECT (extract(epoch FROM next.run_at - clock_timestamp() - $1::int8 * interval '1 microsecond') * 1000000)::int8
        FROM (SELECT run_at FROM forge_jobs WHERE state = 1 AND NOT EXISTS (SELECT FROM ready WHERE ready.id = forge_jobs.id)
              ORDER BY run_at LIMIT 1) next)
