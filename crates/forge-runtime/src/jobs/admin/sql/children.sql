-- The children of a job that have not ended, the oldest first, at most a hundred. forge_jobs_parent serves it.
SELECT id FROM forge_jobs WHERE parent = $1 ORDER BY id LIMIT 100
