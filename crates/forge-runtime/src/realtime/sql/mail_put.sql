-- Leaves a message, $3, for the session $1 of the user $2 on another node that lives, and tells that node. Returns no row when there is no
-- such session.
WITH put AS (
    INSERT INTO forge_live_messages (session, body)
    SELECT s.id, $3::text
    FROM forge_live_sessions s
    JOIN forge_live_nodes n ON n.node = s.node
    WHERE s.id = $1::text AND s.user_id IS NOT DISTINCT FROM $2::text AND n.seen_at > now() - interval '20 s'
    RETURNING session
)
SELECT forge_tell(json_build_object('mail', s.node)::text) FROM put JOIN forge_live_sessions s ON s.id = put.session
