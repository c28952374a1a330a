-- Deletes what the snapshot $2 sees and $1 does not (everything that it sees when there is no $1, nothing when there is no $2), and returns the
-- snapshot of now. Nodes may do so at the same time: the slower one finds nothing.
SELECT forge_changes_sweep($1::text::pg_snapshot, $2::text::pg_snapshot), pg_current_snapshot()::text
