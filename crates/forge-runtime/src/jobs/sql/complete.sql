-- Ends jobs that were completed, those of them that are still this worker's: the others have been lost to somebody else. Those whose history is
-- kept are written down there. Answers how many there were, and who has to be told.
WITH ended AS (
    SELECT * FROM unnest($2::uuid[], $3::int4[], $4::text[], $5::bool[]) AS e (id, attempt, output, keep)
), gone AS (
    DELETE FROM forge_jobs j USING ended e
    WHERE j.id = e.id AND j.state = 2 AND j.worker = $1 AND j.attempt = e.attempt
    RETURNING j.id, j.kind, j.queue, j.priority, j.attempt, j.crashes, j.worker, j.input, j.owner, j.trace, j.parent, j.created_at,
              j.claimed_at, j.tracked, e.output, e.keep
), kept AS (
    INSERT INTO forge_jobs_done (id, kind, queue, status, priority, attempt, crashes, worker, input, output, owner, trace, parent,
                                 created_at, started_at)
    SELECT id, kind, queue, 'completed', priority, attempt, crashes, worker, input, output::json, owner, trace, parent, created_at, claimed_at
    FROM gone WHERE keep
)
SELECT count(*), array_agg(id) FILTER (WHERE tracked), CASE WHEN count(*) < cardinality($2) THEN array_agg(id) END
FROM gone
