-- Writes down a job that is ready, has no key and no parent: what nearly all are. The rest is enqueue.sql's.
INSERT INTO forge_jobs (id, kind, queue, priority, input, owner, trace)
VALUES ($1, $2, $3, $4, $5::text::json, $6::text::json, $7)
RETURNING ready_at
