-- Makes history of dead letters, at most $8 of what is asked for ($1 to $7 as in count_dead.sql). Answers how many, and the last of them. Locks them in the
-- order of their ids.
WITH gone AS (
    DELETE FROM forge_jobs_dead
    WHERE id = ANY (ARRAY(
        SELECT id FROM forge_jobs_dead
        WHERE ($1::text IS NULL OR kind = $1) AND ($2::text IS NULL OR queue = $2) AND ($3::text IS NULL OR error ->> 'code' = $3)
          AND ($4::timestamptz IS NULL OR created_at >= $4) AND ($5::timestamptz IS NULL OR created_at < $5) AND id > $6 AND id <= $7
        ORDER BY id LIMIT $8 FOR UPDATE
    ))
    RETURNING *
), kept AS (
    INSERT INTO forge_jobs_done (id, kind, queue, status, priority, attempt, crashes, input, owner, trace, parent, error, created_at)
    SELECT id, kind, queue, 'discarded', priority, attempt, crashes, input, owner, trace, parent, error, created_at FROM gone
)
SELECT count(*), (SELECT id FROM gone ORDER BY id DESC LIMIT 1) FROM gone
