-- Where the framework's own tables are, which sink is in force, what is known about the watched table $1, how many columns it has ever had, and
-- which tables have its triggers.
SELECT quote_ident(s.nspname) AS schema, f.sink, w.keys, w.shape,
       (SELECT t.relnatts::int FROM pg_class t WHERE t.oid = $1) AS attributes,
       ARRAY(
           SELECT t.tgrelid FROM pg_trigger t
           WHERE t.tgname = format('forge_capture_%s_truncate', $1) AND t.tgenabled <> 'D'
       ) AS triggers
FROM pg_class c
JOIN pg_namespace s ON s.oid = c.relnamespace
CROSS JOIN forge_feed f
LEFT JOIN forge_watches w ON w.table_oid = $1
WHERE c.oid = 'forge_changes'::regclass
