-- Asks a node to drain, if it has begun and is not stopping; nothing when it was asked before. By primary keys. It locks no row that a beat writes.
INSERT INTO forge_node_drains (node_id) SELECT id FROM forge_nodes WHERE id = $1 AND status IN ('joining', 'active') ON CONFLICT DO NOTHING
