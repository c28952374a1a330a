-- Whose digest comes when: nobody has one who has not asked for it.
CREATE TABLE digests (
    user_id uuid PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    enabled boolean NOT NULL,
    -- A name of the time zone database, such as Europe/Berlin.
    time_zone varchar(64) NOT NULL,
    -- The day, there, for which the last one was sent.
    last_day date
);
-- Serves the cron, which asks zone by zone.
CREATE INDEX idx_digests_time_zone ON digests (time_zone) WHERE enabled;

-- The job that will remind somebody of a card: at most one for each, and none once it has begun.
CREATE TABLE reminders (
    card_id uuid PRIMARY KEY REFERENCES cards (id) ON DELETE CASCADE,
    job_id uuid NOT NULL
);
