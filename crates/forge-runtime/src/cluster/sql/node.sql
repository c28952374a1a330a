-- A node, as whoever is about to drain it wants to know it: what it does now, what it leads, and which roles no other node has that is at work and was
-- not asked to drain. forge_nodes has a row per node; forge_jobs_running serves its jobs.
SELECT n.hostname, n.address, n.status, n.roles, n.connections, EXISTS (SELECT FROM forge_node_drains d WHERE d.node_id = n.id),
       (SELECT count(*) FROM forge_jobs j WHERE j.state = 2 AND j.worker = n.id),
       ARRAY(SELECT l.role FROM forge_leaders l WHERE l.node_id = n.id AND l.lease_until > now() ORDER BY 1),
       ARRAY(SELECT r.role FROM unnest(n.roles) WITH ORDINALITY AS r (role, place)
             WHERE NOT EXISTS (SELECT FROM forge_nodes o WHERE o.id <> n.id AND o.status = 'active' AND r.role = ANY (o.roles)
                               AND NOT EXISTS (SELECT FROM forge_node_drains d WHERE d.node_id = o.id))
             ORDER BY r.place)
FROM forge_nodes n WHERE n.id = $1
