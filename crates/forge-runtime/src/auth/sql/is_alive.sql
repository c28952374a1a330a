-- Whether a session lives. No row: it has ended so long ago that it was swept.
-- $1 id. Reads by the primary key; locks nothing.
-- An unused session may still have a valid access token; it ends with that, so idle_until is not looked at.
SELECT revoked_at IS NULL AND expires_at > now() AS alive FROM forge_sessions WHERE id = $1
