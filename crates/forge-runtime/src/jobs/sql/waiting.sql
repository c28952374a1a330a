-- The inputs of jobs of a kind that have not ended.
SELECT input::text FROM forge_jobs WHERE kind = $1 ORDER BY created_at, id
