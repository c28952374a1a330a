-- Ends all sessions of a user.
-- $1 user. Finds them by the index on (user_id, last_used_at); locks the rows it ends.
UPDATE forge_sessions SET revoked_at = now(), revoked_why = 'revoked' WHERE user_id = $1 AND revoked_at IS NULL
