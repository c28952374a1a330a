-- Lets a queue go on; nothing when it is not paused. By primary key.
UPDATE forge_job_queues SET paused = false, paused_by = NULL, paused_at = NULL WHERE queue = $1 AND paused
