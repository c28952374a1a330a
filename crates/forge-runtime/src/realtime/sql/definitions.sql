-- Whether any of the names $1 stands for something else than $2 says. Goes on in read_set/sql/mark.sql. Reads the catalogue by its own indexes, for each
-- name; takes no locks beyond theirs.
SELECT coalesce(bool_or(known.mark IS DISTINCT FROM now.mark), false)
FROM unnest($1, $2) AS known (name, mark)
LEFT JOIN pg_class c ON c.oid = to_regclass(known.name)
