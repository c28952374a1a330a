-- Writes down what was done; of an action in several transactions, how many more. By primary key.
INSERT INTO forge_admin_audit AS a (id, who, action, target, count, details, request_id, address)
VALUES ($1, $2, $3, $4, $5, $6::text::json, $7, $8)
ON CONFLICT (id) DO UPDATE SET count = a.count + excluded.count
