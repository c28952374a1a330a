-- Takes a role that is free, with the next term: nobody has it, or its lease is over, or its leader had the lock that this session has now, so the
-- leader's session has ended. Waits for whoever writes under the old term (they read the row FOR SHARE), at most as long as lock_timeout.
-- By primary key. Returns the term, and whether the one before had not resigned.
WITH before AS MATERIALIZED (
    SELECT node_id FROM forge_leaders WHERE role = $1
), taken AS (
    INSERT INTO forge_leaders AS l (role, node_id, term, lease_until, locked)
    VALUES ($1, $2, 1, now() + make_interval(secs => $3), $4)
    ON CONFLICT (role) DO UPDATE
    SET node_id = excluded.node_id, term = l.term + 1, acquired_at = now(), lease_until = excluded.lease_until, locked = excluded.locked
    WHERE l.node_id IS NULL OR l.lease_until < now() OR (l.locked AND excluded.locked)
    RETURNING term
)
SELECT term, EXISTS (SELECT FROM before WHERE node_id IS NOT NULL) FROM taken
