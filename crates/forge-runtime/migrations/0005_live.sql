-- What nodes have to know of each other's live sessions. None of it is logged: after a crash of the server it is gone, as the nodes that
-- wrote it notice, and write it down again.

-- Nodes that have such sessions. One that has not been seen for a while is gone, and with its row goes everything of it.
CREATE UNLOGGED TABLE forge_live_nodes (
    node uuid PRIMARY KEY,
    seen_at timestamptz NOT NULL DEFAULT now()
);

-- Who is present, and where: the topic is made of a query and its arguments. Live queries read it, so it is in the change feed like any table.
CREATE UNLOGGED TABLE forge_presence (
    id uuid PRIMARY KEY,
    topic text NOT NULL,
    node uuid NOT NULL REFERENCES forge_live_nodes ON DELETE CASCADE,
    user_id text,
    -- JSON.
    state text NOT NULL,
    since timestamptz NOT NULL DEFAULT now()
);
-- Serves the list of who is present.
CREATE INDEX forge_presence_topic ON forge_presence (topic, since, id);
-- Serves the end of a node.
CREATE INDEX forge_presence_node ON forge_presence (node);

-- Sessions whose clients send by POST, which may reach any node, and what was sent so to another node than the session's.
CREATE UNLOGGED TABLE forge_live_sessions (
    id text PRIMARY KEY,
    node uuid NOT NULL REFERENCES forge_live_nodes ON DELETE CASCADE,
    user_id text
);
-- Serves the end of a node, and its look for what was sent.
CREATE INDEX forge_live_sessions_node ON forge_live_sessions (node);

CREATE UNLOGGED TABLE forge_live_messages (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    session text NOT NULL REFERENCES forge_live_sessions ON DELETE CASCADE,
    body text NOT NULL
);
-- Serves the session's node, and the session's end.
CREATE INDEX forge_live_messages_session ON forge_live_messages (session);

-- Says something in the change feed: every node hears it when the transaction commits. It is a row whatever the sink, as a row is heard even
-- while the log is not read; where that is the sink, a message makes the nodes look. `at` tells in which order things were said. The text is JSON,
-- and begins as the nodes expect it.
CREATE FUNCTION forge_tell(note text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO forge_changes (change)
    VALUES ('{"n":' || note || ',"at":' || (extract(epoch FROM clock_timestamp()) * 1000000)::bigint || '}');
    IF (SELECT sink FROM forge_feed) = 'wal' THEN
        PERFORM pg_logical_emit_message(true, 'forge', '{"look":true}');
    END IF;
END
$$;

-- A session that ends says so, whoever ended it and by which statement: what is committed from then on is not shown to it, on any node.
CREATE FUNCTION forge_session_ended() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM forge_tell('{"sessionEnded":"' || OLD.id || '"}');
    RETURN NULL;
END
$$;
CREATE TRIGGER forge_session_revoked AFTER UPDATE OF revoked_at ON forge_sessions FOR EACH ROW
WHEN (OLD.revoked_at IS NULL AND NEW.revoked_at IS NOT NULL) EXECUTE FUNCTION forge_session_ended();
CREATE TRIGGER forge_session_deleted AFTER DELETE ON forge_sessions FOR EACH ROW
WHEN (OLD.revoked_at IS NULL AND OLD.expires_at > now()) EXECUTE FUNCTION forge_session_ended();
