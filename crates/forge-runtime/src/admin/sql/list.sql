-- What was done, the newest first, from a place on. By primary key.
SELECT id, at, who, action, target, count, details::text, request_id, address FROM forge_admin_audit
WHERE id < $1 ORDER BY id DESC LIMIT $2
