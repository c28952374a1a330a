-- Whether nothing is left that runs, is ready, or is due.
SELECT NOT EXISTS (SELECT FROM forge_jobs WHERE state IN (0, 2, 3))
   AND NOT EXISTS (SELECT FROM forge_jobs WHERE state = 1 AND run_at <= clock_timestamp() + $1::int8 * interval '1 microsecond')
