-- What a count of a queue finds beside its depth, so that a node that did not count itself can tell it too.
ALTER TABLE forge_job_queues
    ADD COLUMN running bigint NOT NULL DEFAULT 0,
    ADD COLUMN ready bigint NOT NULL DEFAULT 0,
    -- Since when the first of those that are ready has been so.
    ADD COLUMN oldest_at timestamptz;

-- How long the last count of all queues is good. The one row is also what whoever counts has its hands on.
CREATE TABLE forge_job_counts (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    good_until timestamptz NOT NULL
);
INSERT INTO forge_job_counts (good_until) VALUES ('-infinity');
