-- Makes jobs ready whose time has come, at most so many. Answers which lanes they are in, and, in a row of its own, how long it is until the next
-- one is due, in microseconds. forge_jobs_scheduled serves both.
WITH due AS MATERIALIZED (
    SELECT id FROM forge_jobs WHERE state = 1 AND run_at <= clock_timestamp() + $1::int8 * interval '1 microsecond'
    ORDER BY run_at LIMIT $2 FOR UPDATE SKIP LOCKED
), ready AS (
    UPDATE forge_jobs j
    SET state = CASE WHEN j.concurrency_key IS NOT NULL THEN 3 ELSE 0 END, ready_at = clock_timestamp()
    FROM due
    WHERE j.id = due.id
    RETURNING j.kind, j.priority, j.state, j.ready_at, j.concurrency_key
)
SELECT kind, priority, state, min(ready_at), concurrency_key, NULL::int8 FROM ready GROUP BY kind, priority, state, concurrency_key
UNION ALL
SELECT NULL, NULL, NULL, NULL, NULL,
       (SELECT (extract(epoch FROM min(run_at) - clock_timestamp() - $1::int8 * interval '1 microsecond') * 1000000)::int8 FROM (
            SELECT run_at FROM forge_jobs WHERE state = 1 AND id NOT IN (SELECT id FROM due) ORDER BY run_at LIMIT 1) next)
