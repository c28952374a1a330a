-- Which queues are paused, by whom and since when. There is a row per queue.
SELECT queue, paused_by, paused_at FROM forge_job_queues WHERE paused
