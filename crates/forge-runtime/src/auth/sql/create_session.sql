-- Begins a session.
-- $1 id, $2 user, $3 claims, $4 hash of the token's family, $5 hash of the token, $6 user agent, $7 address,
-- $8 seconds until the session ends whatever happens, $9 seconds until it ends unused.
-- Locks only the new row.
INSERT INTO forge_sessions (id, user_id, claims, family_hash, refresh_hash, user_agent, ip, expires_at, idle_until)
VALUES ($1, $2, $3, $4, $5, $6, $7::inet, now() + make_interval(secs => $8), now() + make_interval(secs => least($8, $9)))
RETURNING expires_at
