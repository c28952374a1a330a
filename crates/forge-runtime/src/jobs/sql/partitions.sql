-- The days of which the history has a partition, the oldest first.
SELECT substr(c.relname, 17) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'forge_jobs_done'::regclass AND c.relname ~ '^forge_jobs_done_[0-9]{8}$'
ORDER BY c.relname
