-- Brings what the others know of this node up to date, and shows that it lives. Returns whether it was forgotten (or is new), after which
-- everything has to be written again. The node's row comes first: whoever sweeps it away has to wait, or it is written anew.
WITH here AS (
    INSERT INTO forge_live_nodes (node) VALUES ($1)
    ON CONFLICT (node) DO UPDATE SET seen_at = now()
    RETURNING xmax = 0 AS forgotten
), left_ AS (
    DELETE FROM forge_presence WHERE id = ANY ($2)
), present AS (
    INSERT INTO forge_presence (id, topic, node, user_id, state)
    SELECT m.id, m.topic, this.node, m.user_id, m.state
    FROM unnest($3::uuid[], $4::text[], $5::text[], $6::text[]) AS m (id, topic, user_id, state), (SELECT $1::uuid AS node) this
    ON CONFLICT (id) DO UPDATE SET state = excluded.state, user_id = excluded.user_id
), ended AS (
    DELETE FROM forge_live_sessions WHERE id = ANY ($7)
), begun AS (
    INSERT INTO forge_live_sessions (id, node, user_id)
    SELECT s.id, this.node, s.user_id
    FROM unnest($8::text[], $9::text[]) AS s (id, user_id), (SELECT $1::uuid AS node) this
    ON CONFLICT (id) DO UPDATE SET user_id = excluded.user_id
)
SELECT forgotten FROM here
