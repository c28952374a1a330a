CREATE TYPE mood AS ENUM ('calm', 'very_busy');

CREATE TABLE counters (
    name text PRIMARY KEY,
    value bigint NOT NULL DEFAULT 0
);

CREATE TABLE notes (
    id uuid PRIMARY KEY,
    batch uuid NOT NULL,
    title varchar(50) NOT NULL UNIQUE,
    position integer NOT NULL DEFAULT 0,
    mood mood NOT NULL DEFAULT 'calm',
    extra jsonb,
    due timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX notes_batch ON notes (batch, position);
