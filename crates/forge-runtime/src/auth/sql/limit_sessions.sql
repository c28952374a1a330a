-- Ends the sessions of a user beyond the $2 used last, so that signing in again and again fills no table.
-- $1 user. Finds them by the index on (user_id, last_used_at); locks the rows it ends.
UPDATE forge_sessions SET revoked_at = now(), revoked_why = 'displaced'
WHERE id IN (
    SELECT id FROM forge_sessions
    WHERE user_id = $1 AND revoked_at IS NULL AND idle_until > now()
    ORDER BY last_used_at DESC, id DESC OFFSET $2
)
