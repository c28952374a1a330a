-- Answers of mutations, kept under the ids that their callers gave them: a repeat gets the same answer instead of a second effect.
CREATE TABLE forge_mutations (
    caller text NOT NULL,
    id text NOT NULL,
    fingerprint bytea NOT NULL,
    answer bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (caller, id)
);
-- Serves the sweep of old answers.
CREATE INDEX forge_mutations_created_at ON forge_mutations (created_at);
