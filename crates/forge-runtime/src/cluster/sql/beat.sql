-- One beat: this node lives, and so do the leases of the roles that it leads; whoever is gone is marked dead; what all that is now is returned.
--
-- Locks the own row, those of the dead, and those of the roles led. It skips what others have locked, so it waits for nobody but a node that is
-- marking this one dead; two nodes that mark each other do not deadlock, as each begins with its own row and skips the other's.
-- forge_nodes is read as a whole: it has a row per node. now() is when the statement began, so nothing that it waits for makes anybody look older.
WITH session AS MATERIALIZED (
    SELECT a.pid, a.backend_start FROM pg_stat_activity a WHERE a.pid = pg_backend_pid() AND NOT $9
), jump AS MATERIALIZED (
    -- How much more time has passed on the database's clock than on this node's since its last beat: somebody has set that clock. What looks
    -- like silence for so long is none.
    SELECT greatest(now() - last_heartbeat - make_interval(secs => $10), '0') AS jump FROM forge_nodes WHERE id = $1
), me AS (
    UPDATE forge_nodes SET
        last_heartbeat = now(), status = $2, connections = $3, jobs = $4, jobs_max = $5, cpu = $6, memory = $7, capabilities = $8, completed = $19::text::json,
        cut_off = false,
        backend_pid = (SELECT pid FROM session), backend_start = (SELECT backend_start FROM session)
    WHERE id = $1 AND status <> 'dead'
    RETURNING id
), gone AS MATERIALIZED (
    -- Those whose session has ended. Only if this node's own was there when they last beat: else both may have been cut by the same event.
    SELECT n.id FROM forge_nodes n
    WHERE n.id <> $1 AND n.status <> 'dead' AND n.backend_pid IS NOT NULL
      AND n.last_heartbeat > (SELECT backend_start FROM session)
      AND NOT EXISTS (
          SELECT FROM pg_stat_activity a
          -- Who may not see it of another's session, is shown NULL.
          WHERE a.pid = n.backend_pid AND (a.backend_start = n.backend_start OR a.backend_start IS NULL)
      )
), died AS (
    -- One that was cut off is kept for an hour from now: what became of its jobs is still to be looked at.
    UPDATE forge_nodes SET status = 'dead', last_heartbeat = CASE WHEN cut_off THEN now() ELSE last_heartbeat END
    WHERE EXISTS (SELECT FROM me) AND id IN (
        SELECT n.id FROM forge_nodes n
        WHERE n.id <> $1 AND n.status <> 'dead' AND (
            now() - n.last_heartbeat - (SELECT jump FROM jump) > make_interval(secs => $11)
            OR (now() - n.last_heartbeat - (SELECT jump FROM jump) > make_interval(secs => $12) AND n.id = ANY (ARRAY(SELECT id FROM gone)))
        )
        FOR UPDATE SKIP LOCKED
    )
    RETURNING id
), swept AS (
    DELETE FROM forge_nodes WHERE status = 'dead' AND last_heartbeat < now() - interval '1 hour' AND EXISTS (SELECT FROM me)
), drained AS (
    -- Somebody may have asked a node to drain at the moment at which it left.
    DELETE FROM forge_node_drains WHERE node_id IN (
        SELECT d.node_id FROM forge_node_drains d
        WHERE NOT EXISTS (SELECT FROM forge_nodes n WHERE n.id = d.node_id) FOR UPDATE SKIP LOCKED
    )
), held AS MATERIALIZED (
    -- Whose session has the lock of a role.
    SELECT k.role, l.pid FROM unnest($13::text[], $14::int8[]) AS k (role, class)
    JOIN pg_locks l ON l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
        AND l.classid = k.class::oid AND l.objid = 'forge_leaders'::regclass::oid
        AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
), renewed AS (
    -- One that is being written under right now is locked FOR SHARE and skipped: it is renewed by the next beat.
    UPDATE forge_leaders l SET lease_until = now() + make_interval(secs => $17)
    FROM unnest($15::text[], $16::int8[]) AS mine (role, term)
    WHERE l.role = mine.role AND l.term = mine.term AND l.node_id = $1 AND EXISTS (SELECT FROM me)
      AND l.role IN (SELECT f.role FROM forge_leaders f WHERE f.node_id = $1 FOR NO KEY UPDATE SKIP LOCKED)
      AND ($9 OR EXISTS (SELECT FROM held h WHERE h.role = l.role AND h.pid = pg_backend_pid()))
    RETURNING l.role
)
SELECT
    EXISTS (SELECT FROM me),
    ARRAY(SELECT id FROM died),
    ARRAY(SELECT role FROM renewed),
    now(),
    -- As it was before this statement.
    (SELECT json_agg(n)::text FROM (
        SELECT id, hostname, address, roles, capabilities, status, version, forge_version, started_at, last_heartbeat,
            (extract(epoch FROM now() - last_heartbeat) * 1000)::int8 AS silent_ms, id = ANY (ARRAY(SELECT id FROM gone)) AS gone,
            connections, jobs, jobs_max, cpu, memory, id = ANY (ARRAY(SELECT node_id FROM forge_node_drains)) AS drain_asked
        FROM forge_nodes ORDER BY (status = 'dead'), started_at, id LIMIT $18
    ) n),
    (SELECT json_agg(r)::text FROM (
        SELECT k.role, l.node_id, l.term, l.acquired_at, l.locked,
            (extract(epoch FROM l.lease_until - now() + coalesce((SELECT jump FROM jump), '0')) * 1000)::int8 AS lease_left_ms,
            h.pid AS lock_pid, h.pid = pg_backend_pid() AS lock_mine
        FROM unnest($13::text[]) AS k (role) LEFT JOIN forge_leaders l USING (role) LEFT JOIN held h USING (role)
    ) r),
    EXISTS (SELECT FROM forge_node_drains WHERE node_id = $1)
