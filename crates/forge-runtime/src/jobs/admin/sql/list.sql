-- Jobs by what is asked for, the newest first, at most so many: $1 statuses, $2 kind, $3 queue, $4 code of the last error, $5 and $6 when they were
-- dispatched, $7 and $8 between which ids (the first excluded), $9 how many. Ids grow with time, so a span of time is a span of ids, and primary keys serve
-- it (in the history one index per partition, of those days that can have any). What was not asked for is not looked at.
SELECT * FROM (
    (SELECT id, kind, queue, CASE WHEN state = 1 AND error IS NOT NULL THEN 'retry' ELSE 'pending' END AS status,
            CASE state WHEN 0 THEN 'worker' WHEN 1 THEN 'time' ELSE 'key' END AS waits_for, priority, attempt, crashes, created_at,
            CASE WHEN state = 1 THEN run_at END AS run_at, NULL::timestamptz AS started_at, NULL::timestamptz AS ended_at, NULL::uuid AS worker, parent,
            progress, progress_message, cancel_requested, owner::text, error::text
     FROM forge_jobs
     WHERE ($1::text[] IS NULL OR $1 && ARRAY['pending', 'retry'])
       AND state <> 2 AND ($1 IS NULL OR CASE WHEN state = 1 AND error IS NOT NULL THEN 'retry' ELSE 'pending' END = ANY ($1))
       AND ($2::text IS NULL OR kind = $2) AND ($3::text IS NULL OR queue = $3) AND ($4::text IS NULL OR error ->> 'code' = $4)
       AND ($5::timestamptz IS NULL OR created_at >= $5) AND ($6::timestamptz IS NULL OR created_at < $6) AND id > $7 AND id <= $8
     ORDER BY id DESC LIMIT $9)
    UNION ALL
    (SELECT id, kind, queue, 'running', NULL, priority, attempt, crashes, created_at, NULL, claimed_at, NULL, worker, parent, progress, progress_message,
            cancel_requested, owner::text, error::text
     FROM forge_jobs
     WHERE ($1 IS NULL OR 'running' = ANY ($1)) AND state = 2
       AND ($2 IS NULL OR kind = $2) AND ($3 IS NULL OR queue = $3) AND ($4 IS NULL OR error ->> 'code' = $4)
       AND ($5 IS NULL OR created_at >= $5) AND ($6 IS NULL OR created_at < $6) AND id > $7 AND id <= $8
     ORDER BY id DESC LIMIT $9)
    UNION ALL
    (SELECT id, kind, queue, 'dead_letter', NULL, priority, attempt, crashes, created_at, NULL, NULL, died_at, NULL, parent, NULL, NULL, false,
            owner::text, error::text
     FROM forge_jobs_dead
     WHERE ($1 IS NULL OR 'dead_letter' = ANY ($1))
       AND ($2 IS NULL OR kind = $2) AND ($3 IS NULL OR queue = $3) AND ($4 IS NULL OR error ->> 'code' = $4)
       AND ($5 IS NULL OR created_at >= $5) AND ($6 IS NULL OR created_at < $6) AND id > $7 AND id <= $8
     ORDER BY id DESC LIMIT $9)
    UNION ALL
    (SELECT id, kind, queue, status, NULL, priority, attempt, crashes, created_at, NULL, started_at, finished_at, worker, parent, NULL, NULL, false,
            owner::text, error::text
     FROM forge_jobs_done
     WHERE ($1 IS NULL OR $1 && ARRAY['completed', 'cancelled', 'discarded']) AND ($1 IS NULL OR status = ANY ($1))
       AND ($2 IS NULL OR kind = $2) AND ($3 IS NULL OR queue = $3) AND ($4 IS NULL OR error ->> 'code' = $4)
       AND ($5 IS NULL OR (created_at >= $5 AND finished_at >= $5)) AND ($6 IS NULL OR created_at < $6) AND id > $7 AND id <= $8
     ORDER BY id DESC LIMIT $9)
) AS job
ORDER BY id DESC
LIMIT $9
