-- What was decided of a cron, the newest time first, from a place on, and what became of the runs. Primary keys serve it, in the history of jobs one index
-- per partition.
SELECT r.slot, r.hand, r.job, r.decided_at, j.status, j.attempt, j.started_at, j.ended_at, j.error
FROM (
    SELECT slot, hand, job, decided_at FROM forge_cron_runs
    WHERE cron = $1 AND (slot, hand) < ($2, $3) ORDER BY slot DESC, hand DESC LIMIT $4
) r
LEFT JOIN LATERAL (
    SELECT CASE WHEN state = 2 THEN 'running' WHEN state = 1 AND error IS NOT NULL THEN 'retry' ELSE 'pending' END AS status, attempt,
           claimed_at AS started_at, NULL::timestamptz AS ended_at, error::text
    FROM forge_jobs WHERE id = r.job
    UNION ALL
    SELECT 'dead_letter', attempt, NULL, died_at, error::text FROM forge_jobs_dead WHERE id = r.job
    UNION ALL
    SELECT status, attempt, started_at, finished_at, error::text FROM forge_jobs_done WHERE id = r.job
) j ON true
ORDER BY r.slot DESC, r.hand DESC
