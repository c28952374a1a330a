-- What was changed in watched tables: a row per statement, written by a trigger in the writer's own transaction, read by every node, and
-- swept away after a minute or two. Not logged: after a crash every reader takes everything as changed.
CREATE UNLOGGED TABLE forge_changes (
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    change jsonb NOT NULL
);
-- Serves the readers, and the sweep.
CREATE INDEX forge_changes_xid ON forge_changes (xid);

-- Which tables are watched: the columns whose values are written down, and what the trigger's function was written for.
CREATE TABLE forge_watches (
    table_oid oid PRIMARY KEY,
    keys text[] NOT NULL,
    shape text NOT NULL
);
