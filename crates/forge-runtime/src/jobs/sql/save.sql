-- Keeps what a job wants later attempts to know, if it is still this worker's.
UPDATE forge_jobs SET saved = $4::text::json WHERE id = $1 AND worker = $2 AND claims = $3
