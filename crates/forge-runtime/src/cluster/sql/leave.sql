-- A node has stopped. By primary keys; forge_leaders has a row per role.
WITH resigned AS (
    UPDATE forge_leaders SET node_id = NULL, lease_until = now() WHERE node_id = $1
)
DELETE FROM forge_nodes WHERE id = $1
