-- The values of the enum type of this name ($1, quoted), in order; no row when there is no such type.
SELECT ARRAY(SELECT e.enumlabel::text FROM pg_enum e WHERE e.enumtypid = t.oid ORDER BY e.enumsortorder) AS values
FROM pg_type t WHERE t.oid = to_regtype($1::text) AND t.typtype = 'e'
