-- The sessions of the node $1 for which messages wait.
SELECT DISTINCT m.session
FROM forge_live_messages m
JOIN forge_live_sessions s ON s.id = m.session
WHERE s.node = $1
LIMIT 1000
