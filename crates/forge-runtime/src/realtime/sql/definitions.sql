-- Whether any of the names $1 stands for something else than $2 says. Marks are made as by read_set/sql/relations.sql. Reads the catalogue by
-- its own indexes, for each name; takes no locks beyond theirs.
SELECT EXISTS (
    SELECT FROM unnest($1, $2) AS known (name, mark)
    LEFT JOIN pg_class c ON c.oid = to_regclass(known.name)
    WHERE known.mark IS DISTINCT FROM concat_ws(
        ' ', c.oid, c.relkind, c.relnatts, c.relrowsecurity,
        (SELECT r.xmin FROM pg_rewrite r WHERE r.ev_class = c.oid AND r.rulename = '_RETURN'),
        (SELECT count(*) FROM pg_inherits i WHERE i.inhparent = c.oid)
    )
)
