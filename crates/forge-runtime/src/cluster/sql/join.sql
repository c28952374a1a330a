-- A node joins. The id that it had before, if any, is dead from now on, whether or not the others have noticed.
-- By primary keys.
WITH before AS (
    UPDATE forge_nodes SET status = 'dead' WHERE id = $10 AND status <> 'dead'
)
INSERT INTO forge_nodes (id, hostname, address, roles, capabilities, status, version, forge_version, started_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
