-- A node joins. The id that it had before, if any, is dead from now on, whether or not the others have noticed; what was asked of it under that, is asked
-- of it still. That one, and whoever has been silent for as long as it takes to let go ($12) when it comes back, was cut off, not ended: an outage is
-- everybody's. Whoever of them beats again says otherwise.
-- By primary keys, and once over a table that has a row per node.
WITH before AS (
    -- As of now, or it would be swept away before anybody has looked at what became of its jobs.
    UPDATE forge_nodes SET status = 'dead', cut_off = true, last_heartbeat = now() WHERE id = $10
), silent AS (
    UPDATE forge_nodes SET cut_off = true WHERE id = ANY (ARRAY(
        SELECT id FROM forge_nodes
        WHERE $10::uuid IS NOT NULL AND id <> $10 AND status <> 'dead' AND last_heartbeat < now() - make_interval(secs => $12)
        FOR UPDATE SKIP LOCKED
    ))
), asked AS (
    INSERT INTO forge_node_drains (node_id) SELECT $1::uuid FROM forge_node_drains WHERE node_id = $10
)
INSERT INTO forge_nodes (id, hostname, address, roles, capabilities, status, version, forge_version, started_at, queues)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $11)
