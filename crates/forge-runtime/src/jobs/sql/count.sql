-- How many jobs wait and run, by queue: written down for those who dispatch, and told to those who look. Reads the whole table, so it is run by one
-- node at a time and the less often the longer it takes.
WITH counted AS (
    SELECT queue, count(*) FILTER (WHERE state <> 2) AS waiting, count(*) FILTER (WHERE state = 2) AS running,
           count(*) FILTER (WHERE state = 0) AS ready, min(ready_at) FILTER (WHERE state = 0) AS oldest
    FROM forge_jobs GROUP BY queue
), noted AS (
    INSERT INTO forge_job_queues (queue, depth, counted_at) SELECT queue, waiting, clock_timestamp() FROM counted
    ON CONFLICT (queue) DO UPDATE SET depth = excluded.depth, counted_at = excluded.counted_at
), empty AS (
    UPDATE forge_job_queues SET depth = 0, counted_at = clock_timestamp()
    WHERE depth > 0 AND queue NOT IN (SELECT queue FROM counted)
)
SELECT queue, waiting, running, ready, extract(epoch FROM clock_timestamp() - oldest)::float8 FROM counted
