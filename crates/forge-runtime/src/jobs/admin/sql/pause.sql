-- Pauses a queue; nothing when it is paused already. By primary key.
INSERT INTO forge_job_queues AS q (queue, paused, paused_by, paused_at) VALUES ($1, true, $2, clock_timestamp())
ON CONFLICT (queue) DO UPDATE SET paused = true, paused_by = excluded.paused_by, paused_at = excluded.paused_at WHERE NOT q.paused
