-- 100 lists of 20.
CREATE TABLE todo (
    id bigint PRIMARY KEY,
    list_id bigint NOT NULL,
    title text NOT NULL,
    done boolean NOT NULL DEFAULT false,
    revision bigint NOT NULL DEFAULT 0
);
CREATE INDEX todo_list_id ON todo (list_id);
INSERT INTO todo (id, list_id, title) SELECT n + 1, n / 20, 'a thing to do, number ' || n FROM generate_series(0, 1999) n;

-- The same for a bare reader: its triggers write the least that a reader needs, into a table and into the log.
CREATE TABLE floor_changelog (LIKE todo INCLUDING ALL);
CREATE TABLE floor_wal (LIKE todo INCLUDING ALL);
INSERT INTO floor_changelog SELECT * FROM todo;
INSERT INTO floor_wal SELECT * FROM todo;
CREATE UNLOGGED TABLE floor_changes (id bigserial PRIMARY KEY, revision bigint NOT NULL);

CREATE FUNCTION floor_to_table() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO floor_changes (revision) SELECT max(revision) FROM after;
    RETURN NULL;
END $$;
CREATE TRIGGER floor_capture AFTER UPDATE ON floor_changelog REFERENCING NEW TABLE AS after
    FOR EACH STATEMENT EXECUTE FUNCTION floor_to_table();

CREATE FUNCTION floor_to_log() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_logical_emit_message(true, 'floor', (SELECT max(revision)::text FROM after));
    RETURN NULL;
END $$;
CREATE TRIGGER floor_capture AFTER UPDATE ON floor_wal REFERENCING NEW TABLE AS after
    FOR EACH STATEMENT EXECUTE FUNCTION floor_to_log();

-- Of no table: messages come without being asked for.
CREATE PUBLICATION floor;
