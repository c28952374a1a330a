CREATE TABLE settings (
    id uuid PRIMARY KEY,
    owner text UNIQUE,
    theme text NOT NULL DEFAULT 'light',
    visits bigint NOT NULL DEFAULT 0,
    note text UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE SEQUENCE produced;

CREATE DOMAIN colour AS text CHECK (VALUE IS NOT NULL);

-- What may be NULL in the eyes of the catalogue, and what is not.
CREATE TABLE events (
    id bigint PRIMARY KEY,
    title text NOT NULL,
    due timestamptz,
    place text CHECK (place IS NOT NULL),
    shade colour,
    twice bigint GENERATED ALWAYS AS (id * 2) STORED,
    parent bigint REFERENCES events
);

CREATE VIEW upcoming AS SELECT * FROM events WHERE due > now();

CREATE TABLE accounts (
    id uuid PRIMARY KEY,
    name text NOT NULL UNIQUE,
    password_hash text NOT NULL,
    recovery text,
    failed integer NOT NULL DEFAULT 0
);
