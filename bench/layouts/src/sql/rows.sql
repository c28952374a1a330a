-- States: 0 ready, 1 later, 2 running, 3 held, 4 finished where history stays in the row.
-- Rows claimed by UPDATE and finished by DELETE. Fixed widths first, so that nothing is lost to alignment.
CREATE TABLE forge_jobs (
    id uuid NOT NULL,
    ready_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    run_at timestamptz,
    claimed_at timestamptz,
    worker uuid,
    parent uuid,
    state smallint NOT NULL DEFAULT 0,
    priority smallint NOT NULL DEFAULT 50,
    attempt smallint NOT NULL DEFAULT 0,
    max_attempts smallint NOT NULL DEFAULT 20,
    crashes smallint NOT NULL DEFAULT 0,
    progress smallint,
    cancel_requested boolean NOT NULL DEFAULT false,
    kind text NOT NULL,
    queue text NOT NULL DEFAULT 'default',
    input jsonb NOT NULL,
    owner jsonb,
    trace_id text,
    unique_key text,
    concurrency_key text,
    saved jsonb,
    progress_message text,
    last_error text,
    CONSTRAINT forge_jobs_pkey PRIMARY KEY (id),
    -- Who has it is its fence, so nobody has what does not run.
    CONSTRAINT forge_jobs_worker CHECK (state = 4 OR (state = 2) = (worker IS NOT NULL))
);
CREATE INDEX forge_jobs_ready ON forge_jobs (kind, priority, ready_at) WHERE state = 0;
CREATE INDEX forge_jobs_scheduled ON forge_jobs (run_at) WHERE state = 1;
CREATE INDEX forge_jobs_held ON forge_jobs (kind, concurrency_key, ready_at) WHERE state = 3;
CREATE UNIQUE INDEX forge_jobs_unique ON forge_jobs (kind, unique_key) WHERE unique_key IS NOT NULL;
