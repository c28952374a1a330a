-- Ends the session that has the lock of a role whose lease is over: its leader is cut off, or frozen, and TCP may need hours to notice. By primary key.
SELECT pg_terminate_backend(l.pid) FROM forge_leaders f JOIN pg_locks l
    ON l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND l.classid = $2::int8::oid AND l.objid = 'forge_leaders'::regclass::oid
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
WHERE f.role = $1 AND f.lease_until < now() AND l.pid = $3
