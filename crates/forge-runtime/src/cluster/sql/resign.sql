-- A leader hands over what it leads, so that nobody has to wait for its lease. forge_leaders has a row per role.
WITH resigned AS (
    UPDATE forge_leaders SET node_id = NULL, lease_until = now() WHERE node_id = $1 RETURNING role
)
-- After that, so that whoever gets the lock finds the row free. A session that is a pooler's has none of this node's.
SELECT pg_advisory_unlock_all() FROM (SELECT count(*) FROM resigned) AS done WHERE $2
