-- Writes down how far jobs are, those that are still their worker's. Answers who has to be told. Changes no indexed column. What is special about
-- each is in one object, by id.
UPDATE forge_jobs
SET progress = ($2::jsonb -> id::text -> 'percent')::int2, progress_message = $2::jsonb -> id::text ->> 'message'
WHERE id = ANY ($1::uuid[]) AND worker = ($2::jsonb -> id::text ->> 'worker')::uuid
  AND claims = ($2::jsonb -> id::text -> 'claim')::int4
RETURNING id, tracked
