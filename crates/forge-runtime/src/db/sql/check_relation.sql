-- The relation of this name ($1, quoted), as the search path finds it: its id, and whether it is a table (a view promises nothing).
SELECT c.oid::int8 AS id, c.relkind IN ('r', 'p') AS is_table FROM pg_class c WHERE c.oid = to_regclass($1::text)
