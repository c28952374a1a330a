-- How jobs stand, wherever they are. Primary keys serve it, in the history one index per partition. One that has just ended is in one place
-- only, as it moves in one statement.
SELECT id, kind, CASE state WHEN 2 THEN 'running' WHEN 1 THEN CASE WHEN error IS NULL THEN 'pending' ELSE 'retry' END ELSE 'pending' END AS status,
       attempt, progress, progress_message, NULL::text AS output, error::text, owner::text, cancel_requested
FROM forge_jobs WHERE id = ANY ($1)
UNION ALL
SELECT id, kind, 'dead_letter', attempt, NULL, NULL, NULL, error::text, owner::text, false FROM forge_jobs_dead WHERE id = ANY ($1)
UNION ALL
SELECT id, kind, status, attempt, NULL, NULL, output::text, error::text, owner::text, status = 'cancelled' FROM forge_jobs_done WHERE id = ANY ($1)
