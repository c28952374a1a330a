CREATE TABLE settings (
    id uuid PRIMARY KEY,
    owner text UNIQUE,
    theme text NOT NULL DEFAULT 'light',
    visits bigint NOT NULL DEFAULT 0,
    note text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE SEQUENCE produced;
