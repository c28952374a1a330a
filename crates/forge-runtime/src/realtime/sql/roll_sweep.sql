-- Forgets nodes that have not shown for a while that they live, and with them everything of them. Nodes sweep at the same time: each skips
-- what another one has its hands on.
DELETE FROM forge_live_nodes
WHERE node IN (SELECT node FROM forge_live_nodes WHERE seen_at < now() - interval '20 s' FOR UPDATE SKIP LOCKED)
