-- Where the triggers of this database write changes to. One decision for all nodes, recorded here: `changelog`, rows of forge_changes, or
-- `wal`, logical messages. It is changed under a lock, together with all triggers, and the epoch tells the nodes.
CREATE TABLE forge_feed (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    sink text NOT NULL CHECK (sink IN ('changelog', 'wal')),
    epoch bigint NOT NULL,
    why text NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now(),
    -- The transaction that changed it.
    xid xid8 NOT NULL DEFAULT pg_current_xact_id()
);
INSERT INTO forge_feed (sink, epoch, why) VALUES ('changelog', 1, 'no node has looked yet');

-- Nodes that cannot read the log, or are not to. As long as there is one, changes are rows.
CREATE TABLE forge_feed_objections (
    node uuid PRIMARY KEY,
    why text NOT NULL,
    until timestamptz NOT NULL
);

-- The text is made by the triggers and read by the nodes; the database has no need to look into it.
ALTER TABLE forge_changes ALTER COLUMN change TYPE text;

-- The functions of the triggers on insert, update, delete and truncate, but for the sink. Each has one of its own from now on, made when its
-- table is next read.
DELETE FROM forge_watches;
DO $$
DECLARE
    before regprocedure;
BEGIN
    FOR before IN
        SELECT p.oid FROM pg_proc p
        WHERE p.proname ~ '^forge_capture_[0-9]+$'
          AND p.pronamespace = (SELECT c.relnamespace FROM pg_class c WHERE c.oid = 'forge_watches'::regclass)
    LOOP
        EXECUTE format('DROP FUNCTION %s CASCADE', before);
    END LOOP;
END
$$;
ALTER TABLE forge_watches ADD COLUMN bodies text[] NOT NULL;
