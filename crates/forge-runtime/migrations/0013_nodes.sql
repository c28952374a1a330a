-- Nodes that somebody has asked to drain. A table of its own: a node's row is written by its own beats, and whoever asks is not to hold them up.
-- A row goes when its node's has gone.
CREATE TABLE forge_node_drains (
    node_id uuid PRIMARY KEY,
    asked_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

ALTER TABLE forge_nodes
    -- The queues of its app's jobs.
    ADD COLUMN queues text[] NOT NULL DEFAULT '{}',
    -- How many jobs it has completed within the minute before its last beat, by queue.
    ADD COLUMN completed json NOT NULL DEFAULT '{}';
