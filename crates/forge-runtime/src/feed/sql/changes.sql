-- What is visible now and was not in the snapshot $1; always at least one row. Its first columns are the snapshot of now, where the log stood
-- just after that was taken, when the server was started, the sink in force, and whether that was so long ago that nobody can still write
-- to the one before. Estimated as a few rows even when nothing is known of the tables: else PostgreSQL would compile it anew every time.
SELECT pg_current_snapshot()::text, (pg_current_wal_insert_lsn() - '0/0')::int8, extract(epoch FROM pg_postmaster_start_time())::text, f.sink, f.epoch,
       f.epoch = 1 OR (f.xid < pg_snapshot_xmin(pg_current_snapshot()) AND f.changed_at < now() - interval '1 hour'), c.change
FROM forge_feed f
LEFT JOIN LATERAL forge_changes_since($1::text::pg_snapshot) c (change) ON true
WHERE f.one
