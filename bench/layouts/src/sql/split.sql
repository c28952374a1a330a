-- Ready rows and running rows in tables of their own: a claim is a DELETE and an INSERT. Everything is carried along.
CREATE TABLE forge_ready (
    id uuid NOT NULL PRIMARY KEY,
    ready_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    parent uuid,
    priority smallint NOT NULL DEFAULT 50,
    attempt smallint NOT NULL DEFAULT 0,
    max_attempts smallint NOT NULL DEFAULT 20,
    crashes smallint NOT NULL DEFAULT 0,
    kind text NOT NULL,
    queue text NOT NULL DEFAULT 'default',
    input jsonb NOT NULL,
    owner jsonb,
    trace_id text,
    unique_key text,
    concurrency_key text,
    saved jsonb,
    last_error text
);
CREATE INDEX forge_ready_lane ON forge_ready (kind, priority, ready_at);
CREATE TABLE forge_running (
    id uuid NOT NULL PRIMARY KEY,
    ready_at timestamptz NOT NULL,
    claimed_at timestamptz NOT NULL,
    worker uuid NOT NULL,
    parent uuid,
    priority smallint NOT NULL,
    attempt smallint NOT NULL,
    max_attempts smallint NOT NULL,
    crashes smallint NOT NULL,
    progress smallint,
    cancel_requested boolean NOT NULL DEFAULT false,
    kind text NOT NULL,
    queue text NOT NULL,
    input jsonb NOT NULL,
    owner jsonb,
    trace_id text,
    unique_key text,
    concurrency_key text,
    saved jsonb,
    progress_message text,
    last_error text
);
