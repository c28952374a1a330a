-- Deletes answers older than a day, 1,000 at a time, oldest first by the index on created_at.
-- Rows that another node is deleting are skipped.
DELETE FROM forge_mutations WHERE (caller, id) IN (
    SELECT caller, id FROM forge_mutations
    WHERE created_at < now() - interval '24 hours' ORDER BY created_at LIMIT 1000 FOR UPDATE SKIP LOCKED
)
