-- Whether a job is still this worker's.
SELECT EXISTS (SELECT FROM forge_jobs WHERE id = $1 AND worker = $2 AND claims = $3 AND NOT cancel_requested)
