-- Writes down how far jobs are, those that are still their worker's. Answers who has to be told. Changes no indexed column.
UPDATE forge_jobs j
SET progress = p.percent, progress_message = p.message
FROM unnest($1::uuid[], $2::uuid[], $3::int4[], $4::int2[], $5::text[]) AS p (id, worker, attempt, percent, message)
WHERE j.id = p.id AND j.state = 2 AND j.worker = p.worker AND j.attempt = p.attempt
RETURNING j.id, j.tracked
