-- Whether a queue has any jobs that wait, run, or are dead letters. Reads both tables until it finds one, all of them when there is none: asked for names
-- that nothing else knows.
SELECT EXISTS (SELECT FROM forge_jobs WHERE queue = $1) OR EXISTS (SELECT FROM forge_jobs_dead WHERE queue = $1)
