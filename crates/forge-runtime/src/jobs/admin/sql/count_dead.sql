-- How many dead letters there are of what is asked for; $1 to $7 as in list.sql without the statuses.
SELECT count(*) FROM forge_jobs_dead
WHERE ($1::text IS NULL OR kind = $1) AND ($2::text IS NULL OR queue = $2) AND ($3::text IS NULL OR error ->> 'code' = $3)
  AND ($4::timestamptz IS NULL OR created_at >= $4) AND ($5::timestamptz IS NULL OR created_at < $5) AND id > $6 AND id <= $7
