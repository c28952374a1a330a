-- All that is known of one job beside what the list has, wherever it is. Primary keys serve it, in the history one index per partition.
SELECT input::text, NULL::text AS output, saved::text, trace, unique_key, concurrency_key, NULL::timestamptz AS kept_until FROM forge_jobs WHERE id = $1
UNION ALL
SELECT input::text, NULL, saved::text, trace, unique_key, concurrency_key, expires_at FROM forge_jobs_dead WHERE id = $1
UNION ALL
SELECT input::text, output::text, NULL, trace, NULL, NULL, NULL FROM forge_jobs_done WHERE id = $1
