-- Deletes what was over before the mark $1 (nothing when there is none), and returns a mark for the next time. Nodes may do so at the same
-- time: the slower one finds nothing.
WITH swept AS (DELETE FROM forge_changes WHERE xid < $1::text::xid8)
SELECT pg_snapshot_xmin(pg_current_snapshot())::text
