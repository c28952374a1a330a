-- What is visible now and was not in the snapshot $1; always at least one row, whose first column is the snapshot of now. Uses the index on
-- xid, from the oldest transaction that was open then.
SELECT pg_current_snapshot()::text, c.change::text
FROM (SELECT) one
LEFT JOIN forge_changes c
    ON c.xid >= pg_snapshot_xmin($1::text::pg_snapshot) AND NOT pg_visible_in_snapshot(c.xid, $1::text::pg_snapshot)
