-- A node joins. The id that it had before, if any, is dead from now on, whether or not the others have noticed; what was asked of it under that, is asked
-- of it still.
-- By primary keys.
WITH before AS (
    UPDATE forge_nodes SET status = 'dead' WHERE id = $10 AND status <> 'dead'
), asked AS (
    INSERT INTO forge_node_drains (node_id) SELECT $1::uuid FROM forge_node_drains WHERE node_id = $10
)
INSERT INTO forge_nodes (id, hostname, address, roles, capabilities, status, version, forge_version, started_at, queues)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $11)
