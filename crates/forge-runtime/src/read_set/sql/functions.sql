-- One of these functions that cannot be followed: the app's own unless they are immutable; PostgreSQL's when they are volatile, read the
-- clock, the session or the catalogue, or run a statement that is handed to them as text.
SELECT p.proname::text, p.pronamespace <> 'pg_catalog'::regnamespace AS ours
FROM pg_proc p
WHERE p.proname = ANY ($1)
  AND CASE
      WHEN p.pronamespace <> 'pg_catalog'::regnamespace THEN p.provolatile <> 'i'
      ELSE p.provolatile = 'v'
        OR p.proname IN ('now', 'transaction_timestamp', 'statement_timestamp', 'age', 'current_setting')
        OR (p.provolatile = 's' AND p.proname ~ '^(pg_|txid_|inet_|has_|row_security|to_reg|obj_|col_desc|shobj)')
        OR p.proname ~ '_to_xml'
      END
ORDER BY 2 DESC, 1
LIMIT 1
