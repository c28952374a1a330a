-- How many jobs of each queue wait, run and are ready, and how many seconds the first has been so. What the last count has written down, as long as that is
-- good, or somebody else counts: then it is by primary key. Else it counts, which reads the whole table, and writes that down. A count is good for $1 times
-- as long as it took, and for five seconds at least;
-- one that would be good for more than a day was made before the clock was put back.
WITH due AS MATERIALIZED (
    SELECT FROM forge_job_counts WHERE clock_timestamp() NOT BETWEEN good_until - interval '1 day' AND good_until - interval '1 microsecond' FOR UPDATE SKIP LOCKED
), counted AS MATERIALIZED (
    SELECT queue, count(*) FILTER (WHERE state <> 2) AS waiting, count(*) FILTER (WHERE state = 2) AS running,
           count(*) FILTER (WHERE state = 0) AS ready, min(ready_at) FILTER (WHERE state = 0) AS oldest_at
    FROM forge_jobs WHERE EXISTS (SELECT FROM due) GROUP BY queue
), noted AS (
    INSERT INTO forge_job_queues (queue, depth, running, ready, oldest_at, counted_at)
    SELECT queue, waiting, running, ready, oldest_at, clock_timestamp() FROM counted
    ON CONFLICT (queue) DO UPDATE
    SET depth = excluded.depth, running = excluded.running, ready = excluded.ready, oldest_at = excluded.oldest_at,
        counted_at = excluded.counted_at
), emptied AS (
    UPDATE forge_job_queues SET depth = 0, running = 0, ready = 0, oldest_at = NULL, counted_at = clock_timestamp()
    WHERE EXISTS (SELECT FROM due) AND (depth > 0 OR running > 0) AND queue NOT IN (SELECT queue FROM counted)
), good AS (
    -- Once all are counted.
    UPDATE forge_job_counts
    SET good_until = clock_timestamp() + greatest(interval '5 seconds', (clock_timestamp() - statement_timestamp()) * $1::int4)
    FROM (SELECT count(*) FROM counted) AS whole
    WHERE EXISTS (SELECT FROM due)
)
SELECT queue, waiting, running, ready, extract(epoch FROM clock_timestamp() - oldest_at)::float8 FROM counted
UNION ALL
SELECT queue, depth, running, ready, extract(epoch FROM clock_timestamp() - oldest_at)::float8 FROM forge_job_queues
WHERE NOT EXISTS (SELECT FROM due) AND (depth > 0 OR running > 0)
