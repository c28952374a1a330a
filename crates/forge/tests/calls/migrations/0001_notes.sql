CREATE TYPE note_state AS ENUM ('open', 'in_progress', 'done');

CREATE TABLE notes (
    id uuid PRIMARY KEY,
    title varchar(20) NOT NULL,
    state note_state NOT NULL DEFAULT 'open',
    "order" bigint NOT NULL,
    extra jsonb,
    changed timestamptz NOT NULL DEFAULT now()
);
