CREATE TABLE accounts (
    name text PRIMARY KEY,
    password_hash text NOT NULL
);

-- One column of each kind that a caller can fill.
CREATE TABLE kept (
    id uuid PRIMARY KEY,
    text text NOT NULL,
    label varchar(10),
    small integer NOT NULL,
    wide bigint NOT NULL,
    float double precision NOT NULL,
    amount numeric(12, 2) NOT NULL,
    at timestamptz NOT NULL,
    day date NOT NULL,
    bytes bytea NOT NULL,
    any_json jsonb NOT NULL,
    list text[] NOT NULL
);
CREATE INDEX kept_text ON kept (text);
