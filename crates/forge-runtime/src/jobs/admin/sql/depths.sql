-- How many jobs of each queue wait, and for what, and run; how long the oldest that is ready has been, and how long until the next scheduled one is due, in
-- seconds. Reads the whole table.
SELECT queue, count(*) FILTER (WHERE state = 0), count(*) FILTER (WHERE state = 1), count(*) FILTER (WHERE state = 3), count(*) FILTER (WHERE state = 2),
       extract(epoch FROM clock_timestamp() - min(ready_at) FILTER (WHERE state = 0))::float8,
       extract(epoch FROM min(run_at) FILTER (WHERE state = 1) - clock_timestamp() - $1::int8 * interval '1 microsecond')::float8
FROM forge_jobs GROUP BY queue
