-- How many jobs of each queue were completed in the last minute, as far as the end of a day's history reaches that begins at page $1: rows are only ever added at
-- its end. The row without a queue has when the first of those pages' rows ended.
SELECT queue, count(*) FILTER (WHERE status = 'completed' AND finished_at > clock_timestamp() - interval '1 minute'),
       extract(epoch FROM clock_timestamp() - min(finished_at))::float8
FROM {history} WHERE ctid >= ('(' || $1::int8 || ',0)')::tid
GROUP BY GROUPING SETS ((queue), ())
