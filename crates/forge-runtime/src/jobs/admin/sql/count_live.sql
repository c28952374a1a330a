-- How many jobs there are of what is asked for that wait, or run and are not told to end yet: $1 to $7 as in count_dead.sql, $8 statuses.
SELECT count(*) FROM forge_jobs
WHERE ($1::text IS NULL OR kind = $1) AND ($2::text IS NULL OR queue = $2) AND ($3::text IS NULL OR error ->> 'code' = $3)
  AND ($4::timestamptz IS NULL OR created_at >= $4) AND ($5::timestamptz IS NULL OR created_at < $5) AND id > $6 AND id <= $7
  AND ($8::text[] IS NULL
       OR CASE WHEN state = 2 THEN 'running' WHEN state = 1 AND error IS NOT NULL THEN 'retry' ELSE 'pending' END = ANY ($8))
  AND NOT (state = 2 AND cancel_requested)
