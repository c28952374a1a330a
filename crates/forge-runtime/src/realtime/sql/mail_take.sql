-- Takes messages for the session $1, the oldest first, at most 100.
WITH taken AS (
    DELETE FROM forge_live_messages
    WHERE seq IN (SELECT seq FROM forge_live_messages WHERE session = $1 ORDER BY seq LIMIT 100)
    RETURNING seq, body
)
SELECT body FROM taken ORDER BY seq
