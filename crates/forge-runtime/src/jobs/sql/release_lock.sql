-- One at a time lets jobs of a key in.
SELECT pg_advisory_xact_lock(hashtextextended($1 || ' ' || $2, 0))
