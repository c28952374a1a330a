-- Which of some sessions live. No row: it has ended, perhaps so long ago that it was swept.
-- $1 ids. Reads by the primary key; locks nothing.
-- An unused session may still have a valid access token; it ends with that, so idle_until is not looked at.
SELECT id FROM forge_sessions WHERE id = ANY ($1) AND revoked_at IS NULL AND expires_at > now()
