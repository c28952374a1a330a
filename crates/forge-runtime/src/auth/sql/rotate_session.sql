-- Puts a successor in the place of a session's current refresh token, if that is what was presented and the session lives.
-- $1 hash of the family, $2 hash of the token presented, $3 hash of its successor, $4 seconds until the session ends unused.
-- Finds the row by the unique index on family_hash and locks it: of two calls with one token, the second finds nothing.
UPDATE forge_sessions
SET refresh_hash = $3, previous_hash = $2, rotated_at = clock_timestamp(), last_used_at = now(),
    idle_until = least(expires_at, now() + make_interval(secs => $4))
WHERE family_hash = $1 AND refresh_hash = $2 AND revoked_at IS NULL AND idle_until > now()
RETURNING id, user_id, claims, expires_at
