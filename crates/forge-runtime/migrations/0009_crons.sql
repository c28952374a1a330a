-- Crons: up to which time each has been decided, and whether somebody has paused it.
CREATE TABLE forge_crons (
    name text PRIMARY KEY,
    -- The last time that was decided: run, skipped or missed. It only grows, so that nothing is run twice, whatever becomes of the runs below.
    last_slot timestamptz NOT NULL,
    paused boolean NOT NULL DEFAULT false,
    -- How many times passed without a run, as no scheduler ran, or while it was paused.
    missed bigint NOT NULL DEFAULT 0
);

-- What was decided, one row per cron and time; the row is written in the transaction that dispatches the run.
CREATE TABLE forge_cron_runs (
    cron text NOT NULL,
    slot timestamptz NOT NULL,
    -- A run that somebody asked for has a key of its own. Those of the clock have the nil one.
    hand uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    -- The job. Nothing when it was skipped, as the last run was not finished.
    job uuid,
    decided_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (cron, slot, hand)
);
-- Serves their end.
CREATE INDEX forge_cron_runs_decided ON forge_cron_runs (decided_at);
