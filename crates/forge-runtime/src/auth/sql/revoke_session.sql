-- Ends a session, once.
-- $1 id, $2 why. Finds the row by the primary key and locks it.
UPDATE forge_sessions SET revoked_at = now(), revoked_why = $2 WHERE id = $1 AND revoked_at IS NULL
