-- The queues of the jobs of all nodes that live, and others that are paused, or in which somebody has counted jobs. Both tables have few rows.
SELECT queue FROM forge_nodes, unnest(queues) AS queue WHERE status <> 'dead'
UNION SELECT queue FROM forge_job_queues WHERE paused OR counted_at IS NOT NULL
