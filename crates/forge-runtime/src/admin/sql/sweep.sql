-- What was done so long ago that it is forgotten; some at a time, past what another node has its hands on. forge_admin_audit_at serves it.
DELETE FROM forge_admin_audit
WHERE id = ANY (ARRAY(
    SELECT id FROM forge_admin_audit WHERE at < clock_timestamp() - $1::int8 * interval '1 microsecond' ORDER BY at LIMIT 1000 FOR UPDATE SKIP LOCKED
))
