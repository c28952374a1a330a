-- Takes messages for sessions of the node $1, the oldest first, at most 100.
WITH next AS (
    SELECT m.seq
    FROM forge_live_messages m
    JOIN forge_live_sessions s ON s.id = m.session
    WHERE s.node = $1
    ORDER BY m.seq
    LIMIT 100
), taken AS (
    DELETE FROM forge_live_messages m USING next WHERE m.seq = next.seq RETURNING m.seq, m.session, m.body
)
SELECT session, body FROM taken ORDER BY seq
