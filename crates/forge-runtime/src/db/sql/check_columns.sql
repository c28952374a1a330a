-- The columns of a relation ($1), with what is needed to tell whether a field fits. Reads the catalogue only.
SELECT a.attname::text AS name,
       a.attnotnull OR t.typnotnull AS required,
       format_type(a.atttypid, a.atttypmod) AS shown,
       CASE WHEN e.oid IS NULL THEN t.typname::text ELSE e.typname::text END AS type,
       e.oid IS NOT NULL AS is_array,
       CASE WHEN t.typname IN ('varchar', 'bpchar') AND a.atttypmod > 4 THEN a.atttypmod - 4 END AS length
FROM pg_attribute a
JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_type e ON e.oid = t.typelem AND t.typcategory = 'A'
WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped
