-- Who executed what, under which lease.
CREATE TABLE executions (
    n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    label text NOT NULL,
    job uuid NOT NULL,
    attempt int NOT NULL,
    began_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at timestamptz
);
