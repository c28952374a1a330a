-- Narrow ready and running rows; what a job carries stays where it was written first.
CREATE TABLE forge_body (
    id uuid NOT NULL PRIMARY KEY,
    parent uuid,
    max_attempts smallint NOT NULL DEFAULT 20,
    queue text NOT NULL DEFAULT 'default',
    input jsonb NOT NULL,
    owner jsonb,
    trace_id text,
    unique_key text,
    concurrency_key text
);
CREATE TABLE forge_ready (
    id uuid NOT NULL PRIMARY KEY,
    ready_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    priority smallint NOT NULL DEFAULT 50,
    attempt smallint NOT NULL DEFAULT 0,
    crashes smallint NOT NULL DEFAULT 0,
    kind text NOT NULL
);
CREATE INDEX forge_ready_lane ON forge_ready (kind, priority, ready_at);
CREATE TABLE forge_running (
    id uuid NOT NULL PRIMARY KEY,
    ready_at timestamptz NOT NULL,
    claimed_at timestamptz NOT NULL,
    worker uuid NOT NULL,
    priority smallint NOT NULL,
    attempt smallint NOT NULL,
    crashes smallint NOT NULL,
    kind text NOT NULL
);
