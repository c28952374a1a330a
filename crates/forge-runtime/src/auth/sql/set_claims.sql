-- Changes what the tokens of a user's sessions will say from their next refresh on.
-- $1 user, $2 claims. Finds them by the index on (user_id, last_used_at); locks these rows.
UPDATE forge_sessions SET claims = $2 WHERE user_id = $1 AND revoked_at IS NULL
