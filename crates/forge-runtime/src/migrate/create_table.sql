-- The record of what was applied. Created by every migrator before it looks, under the migrators' lock.
CREATE TABLE IF NOT EXISTS forge_migrations (
    set text NOT NULL,
    version bigint NOT NULL,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    execution_time_ms bigint NOT NULL,
    PRIMARY KEY (set, version)
);
