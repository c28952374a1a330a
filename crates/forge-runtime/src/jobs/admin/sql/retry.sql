-- Puts dead letters back, at most $8 of what is asked for ($1 to $7 as in count_dead.sql), with fresh attempts and what they had saved. One whose unique key
-- a live job has stays where it is. How often one was claimed is not forgotten: that is its fence. The first row has how many were looked at, and the last of them; then one for each that is back.
-- Locks the dead letters in the order of their ids, and waits for who dispatches a job with one of their keys, in the order of enqueue.sql.
WITH chosen AS MATERIALIZED (
    SELECT * FROM forge_jobs_dead
    WHERE ($1::text IS NULL OR kind = $1) AND ($2::text IS NULL OR queue = $2) AND ($3::text IS NULL OR error ->> 'code' = $3)
      AND ($4::timestamptz IS NULL OR created_at >= $4) AND ($5::timestamptz IS NULL OR created_at < $5) AND id > $6 AND id <= $7
    ORDER BY id LIMIT $8 FOR UPDATE
), back AS (
    INSERT INTO forge_jobs (id, kind, queue, state, priority, claims, created_at, parent, input, owner, trace, unique_key, concurrency_key, saved)
    SELECT id, kind, queue, CASE WHEN concurrency_key IS NULL THEN 0 ELSE 3 END, priority, claims, created_at, parent, input, owner, trace, unique_key,
           concurrency_key, saved
    FROM chosen ORDER BY kind, unique_key, id
    ON CONFLICT DO NOTHING
    RETURNING id, kind, priority, ready_at, concurrency_key
), gone AS (
    DELETE FROM forge_jobs_dead WHERE id = ANY (ARRAY(SELECT id FROM back))
)
SELECT (SELECT id FROM chosen ORDER BY id DESC LIMIT 1) AS id, NULL::text AS kind, NULL::int2 AS priority, NULL::timestamptz AS ready_at,
       NULL::text AS concurrency_key, (SELECT count(*) FROM chosen) AS looked_at
UNION ALL
SELECT id, kind, priority, ready_at, concurrency_key, NULL FROM back
