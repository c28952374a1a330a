-- As complete.sql, of jobs of which nothing is kept.
WITH gone AS (
    DELETE FROM forge_jobs WHERE id = ANY ($2::uuid[]) AND worker = $1 AND claims = $3
    RETURNING id, tracked
)
SELECT count(*), array_agg(id) FILTER (WHERE tracked)
FROM gone
