-- What is finished. A partition per day, dropped when it is old enough.
CREATE TABLE forge_jobs_done (
    id uuid NOT NULL,
    finished_at timestamptz NOT NULL DEFAULT now(),
    ready_at timestamptz NOT NULL,
    claimed_at timestamptz,
    worker uuid,
    parent uuid,
    outcome smallint NOT NULL,
    priority smallint NOT NULL,
    attempt smallint NOT NULL,
    crashes smallint NOT NULL,
    kind text NOT NULL,
    queue text NOT NULL,
    input jsonb NOT NULL,
    owner jsonb,
    trace_id text,
    output jsonb,
    last_error text
) PARTITION BY RANGE (finished_at);
CREATE TABLE forge_jobs_done_today PARTITION OF forge_jobs_done FOR VALUES FROM ('2000-01-01') TO ('2100-01-01');
CREATE TABLE forge_jobs_done_tomorrow PARTITION OF forge_jobs_done FOR VALUES FROM ('2100-01-01') TO ('2100-01-02');
