-- Sessions: who is signed in where. Refresh tokens are known by their hashes only.
CREATE TABLE forge_sessions (
    id uuid PRIMARY KEY,
    user_id text NOT NULL,
    -- What its access tokens say besides the user: {"roles": [..], "custom": {..}}.
    claims jsonb NOT NULL,
    -- SHA-256 of the part that all refresh tokens of the session have in common.
    family_hash bytea NOT NULL UNIQUE,
    -- SHA-256 of the current refresh token, and of the one before with the time when it was replaced.
    refresh_hash bytea NOT NULL,
    previous_hash bytea,
    rotated_at timestamptz,
    user_agent text,
    ip inet,
    created_at timestamptz NOT NULL DEFAULT now(),
    last_used_at timestamptz NOT NULL DEFAULT now(),
    -- When it ends whatever happens, and when it ends unused; the latter is never the later one.
    expires_at timestamptz NOT NULL,
    idle_until timestamptz NOT NULL,
    revoked_at timestamptz,
    revoked_why text
);
-- Serves everything about a user's sessions.
CREATE INDEX forge_sessions_user ON forge_sessions (user_id, last_used_at) WHERE revoked_at IS NULL;
-- Serves the sweep.
CREATE INDEX forge_sessions_expires_at ON forge_sessions (expires_at);

-- Attempts to sign in, per account and address. The key is a hash, so that no list of accounts lies here.
-- Not logged: after a crash of the server, counting begins anew.
CREATE UNLOGGED TABLE forge_login_attempts (
    key bytea PRIMARY KEY,
    window_start timestamptz NOT NULL,
    count int4 NOT NULL
);
-- Serves the sweep.
CREATE INDEX forge_login_attempts_window_start ON forge_login_attempts (window_start);
