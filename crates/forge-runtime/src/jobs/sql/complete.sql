-- Ends jobs that were completed, those of them that are still this worker's: the others have been lost to somebody else. They are written down in
-- the history, with their results, of which one object has those that are not null, and another one why some could not be stored; nothing is
-- looked up when there are none. Answers how many there were, and whom to tell of. Looked up by key, in its order; no index of what runs is named, and nothing is joined, as both are planned
-- badly when the table has just grown.
WITH gone AS (
    DELETE FROM forge_jobs WHERE id = ANY ($2::uuid[]) AND worker = $1 AND claims = $3
    RETURNING id, kind, queue, priority, attempt, crashes, worker, input, owner, trace, parent, created_at, claimed_at, tracked
), kept AS (
    INSERT INTO forge_jobs_done (id, kind, queue, status, priority, attempt, crashes, worker, input, output, error, owner, trace, parent,
                                 created_at, started_at)
    SELECT id, kind, queue, 'completed', priority, attempt, crashes, worker, input, CASE WHEN $4::jsonb IS NOT NULL THEN ($4::jsonb -> id::text)::json END,
           CASE WHEN $5::jsonb IS NOT NULL THEN ($5::jsonb -> id::text)::json END, owner, trace, parent, created_at, claimed_at
    FROM gone
)
SELECT count(*), array_agg(id) FILTER (WHERE tracked)
FROM gone
