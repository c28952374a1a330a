-- Whether nothing is left that runs, is ready, or is due, but for what waits in queues that are paused.
SELECT NOT EXISTS (SELECT FROM forge_jobs WHERE state = 2)
   AND NOT EXISTS (SELECT FROM forge_jobs j WHERE state IN (0, 3) AND NOT EXISTS (SELECT FROM forge_job_queues q WHERE q.queue = j.queue AND q.paused))
   AND NOT EXISTS (SELECT FROM forge_jobs WHERE state = 1 AND run_at <= clock_timestamp() + $1::int8 * interval '1 microsecond')
