-- Jobs that wait or run. What has ended is elsewhere, so that this table and its indexes stay as small as what is left to do. It has no
-- trigger. Which queues are paused, what a worker can run, limits and rates are not looked for in here: a worker asks for what it can have,
-- lane by lane, a lane being a kind and a priority.
CREATE TABLE forge_jobs (
    id uuid PRIMARY KEY,
    -- Its place in its lane.
    ready_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- When it becomes ready, while it is scheduled.
    run_at timestamptz,
    claimed_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Who runs it: a node, which is to be alive. With `attempt` it is the fence of every write of a running job.
    worker uuid,
    parent uuid,
    -- How often it was begun.
    attempt integer NOT NULL DEFAULT 0,
    -- How many of its attempts ended with their worker. They count neither as attempts nor as failures.
    crashes integer NOT NULL DEFAULT 0,
    -- 0 ready, 1 scheduled (until run_at), 2 running, 3 held (until its concurrency key has room).
    state smallint NOT NULL DEFAULT 0 CHECK (state BETWEEN 0 AND 3),
    -- 0 background, 25 low, 50 normal, 75 high, 100 critical.
    priority smallint NOT NULL DEFAULT 50,
    -- How far it says it is, in percent.
    progress smallint,
    cancel_requested boolean NOT NULL DEFAULT false,
    -- Somebody wants to be told when it gets on.
    tracked boolean NOT NULL DEFAULT false,
    kind text NOT NULL,
    queue text NOT NULL,
    -- JSON is never looked into here, so it is kept as it came.
    input json NOT NULL DEFAULT 'null',
    -- Who dispatched it: subject, roles and claims. Nobody for what the system dispatches itself.
    owner json,
    -- W3C traceparent of whoever dispatched it.
    trace text,
    unique_key text,
    concurrency_key text,
    -- What an attempt has left to the next.
    saved json,
    progress_message text,
    -- What the last attempt failed with.
    error json,
    CHECK ((state = 2) = (worker IS NOT NULL))
) WITH (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000, autovacuum_analyze_scale_factor = 0.02,
        autovacuum_analyze_threshold = 5000, autovacuum_vacuum_cost_delay = 1);

-- Serves the claim.
CREATE INDEX forge_jobs_ready ON forge_jobs (kind, priority, ready_at) WHERE state = 0;
-- Serves what becomes due.
CREATE INDEX forge_jobs_scheduled ON forge_jobs (run_at) WHERE state = 1;
-- Serves the end of a worker, and whoever looks at what runs. By time, as an index that grows at its end costs less than one by worker.
CREATE INDEX forge_jobs_running ON forge_jobs (claimed_at) WHERE state = 2;
-- One live job per key.
CREATE UNIQUE INDEX forge_jobs_unique ON forge_jobs (kind, unique_key) WHERE unique_key IS NOT NULL;
-- Serves limits per key: how many have one of the key's places, and who is next.
CREATE INDEX forge_jobs_keys ON forge_jobs (kind, concurrency_key, state, priority DESC, ready_at) WHERE concurrency_key IS NOT NULL;
-- Serves families.
CREATE INDEX forge_jobs_parent ON forge_jobs (parent) WHERE parent IS NOT NULL;

-- Jobs that failed for good. They wait for somebody to retry or discard them.
CREATE TABLE forge_jobs_dead (
    id uuid PRIMARY KEY,
    kind text NOT NULL,
    queue text NOT NULL,
    priority smallint NOT NULL,
    attempt integer NOT NULL,
    crashes integer NOT NULL,
    input json NOT NULL,
    owner json,
    trace text,
    parent uuid,
    unique_key text,
    concurrency_key text,
    saved json,
    error json,
    created_at timestamptz NOT NULL,
    died_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL
);
-- Serves the list of a kind's dead letters, and their end.
CREATE INDEX forge_jobs_dead_kind ON forge_jobs_dead (kind, died_at);
CREATE INDEX forge_jobs_dead_expires ON forge_jobs_dead (expires_at);

-- Jobs that have ended: completed, cancelled or discarded. A partition per day, made ahead and dropped when all in it is old enough, so that
-- history costs no vacuum. What falls between partitions is not lost: there is one for the rest, which maintenance keeps empty.
CREATE TABLE forge_jobs_done (
    id uuid NOT NULL,
    kind text NOT NULL,
    queue text NOT NULL,
    status text NOT NULL CHECK (status IN ('completed', 'cancelled', 'discarded')),
    priority smallint NOT NULL,
    attempt integer NOT NULL,
    crashes integer NOT NULL,
    worker uuid,
    input json NOT NULL,
    output json,
    owner json,
    trace text,
    parent uuid,
    error json,
    created_at timestamptz NOT NULL,
    started_at timestamptz,
    finished_at timestamptz NOT NULL DEFAULT clock_timestamp()
) PARTITION BY RANGE (finished_at);
CREATE INDEX forge_jobs_done_id ON forge_jobs_done (id);
CREATE TABLE forge_jobs_done_rest PARTITION OF forge_jobs_done DEFAULT;

-- What is known of queues beside their jobs: those that nobody has paused and that are not deep have no row.
CREATE TABLE forge_job_queues (
    queue text PRIMARY KEY,
    paused boolean NOT NULL DEFAULT false,
    paused_by text,
    paused_at timestamptz,
    -- How many jobs waited when somebody last counted, and when that was.
    depth bigint NOT NULL DEFAULT 0,
    counted_at timestamptz
);

-- How many jobs of a kind may still be started in the window that began then.
CREATE TABLE forge_job_rates (
    kind text PRIMARY KEY,
    window_began timestamptz NOT NULL,
    taken integer NOT NULL
);

-- Makes the history's partition of a day, if there is none. What lies in the partition for the rest and belongs there goes along.
CREATE FUNCTION forge_jobs_done_partition(day date) RETURNS boolean LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    name text := 'forge_jobs_done_' || to_char(day, 'YYYYMMDD');
    first timestamptz := day::timestamp AT TIME ZONE 'UTC';
    next timestamptz := (day + 1)::timestamp AT TIME ZONE 'UTC';
BEGIN
    IF to_regclass(quote_ident(name)) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE forge_jobs_done INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', name);
    EXECUTE format('WITH gone AS (DELETE FROM forge_jobs_done_rest WHERE finished_at >= %L AND finished_at < %L RETURNING *) '
                   'INSERT INTO %I SELECT * FROM gone', first, next, name);
    EXECUTE format('ALTER TABLE forge_jobs_done ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', name, first, next);
    RETURN true;
END
$$;
SELECT forge_jobs_done_partition((now() AT TIME ZONE 'UTC')::date + n) FROM generate_series(0, 3) AS n;
