-- What is known about the session of a refresh token that is not its current one.
-- $1 hash of the family, $2 hash of the token presented, $3 seconds in which a token may be presented once more.
-- What counts is when the question came, which may have waited for the one before it to be committed: when the transaction began.
-- Finds the row by the unique index on family_hash; locks nothing.
SELECT id, user_id, claims, expires_at, refresh_hash,
       revoked_at IS NULL AND idle_until > now() AS alive,
       coalesce(previous_hash = $2 AND rotated_at > now() - make_interval(secs => $3), false) AS just_rotated
FROM forge_sessions WHERE family_hash = $1
