-- The living sessions of a user, those used last first; there are never more than the limit on them.
-- $1 user. Reads by the index on (user_id, last_used_at); locks nothing.
SELECT id, created_at, last_used_at, expires_at, user_agent, host(ip) AS ip
FROM forge_sessions WHERE user_id = $1 AND revoked_at IS NULL AND idle_until > now()
ORDER BY last_used_at DESC, id DESC LIMIT 1000
