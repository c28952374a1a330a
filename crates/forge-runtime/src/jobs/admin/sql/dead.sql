-- How many dead letters each queue has, and how many of them are of the last minute. Reads the whole table.
SELECT queue, count(*), count(*) FILTER (WHERE died_at > clock_timestamp() - interval '1 minute') FROM forge_jobs_dead GROUP BY queue
