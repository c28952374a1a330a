-- What is visible now and was not in the snapshot $1; always at least one row. Its first columns are the snapshot of now, where the log stood
-- just after that was taken, when the server was started, the sink in force, and whether that was so long ago that nobody can still write
-- to the one before. Uses the index on xid, from the oldest transaction that was open then.
SELECT pg_current_snapshot()::text, (pg_current_wal_insert_lsn() - '0/0')::int8, extract(epoch FROM pg_postmaster_start_time())::text, f.sink, f.epoch,
       f.epoch = 1 OR (f.xid < pg_snapshot_xmin(pg_current_snapshot()) AND f.changed_at < now() - interval '1 hour'), c.change
FROM forge_feed f
LEFT JOIN forge_changes c
    ON c.xid >= pg_snapshot_xmin($1::text::pg_snapshot) AND NOT pg_visible_in_snapshot(c.xid, $1::text::pg_snapshot)
