-- The end of a statement that looks names up: the mark of what each stands for, which is c. Another mark, and the name stands for something else.
CROSS JOIN LATERAL (
    SELECT concat_ws(
        ' ', c.oid, c.relkind, c.relnatts, c.relrowsecurity,
        (SELECT r.xmin FROM pg_rewrite r WHERE r.ev_class = c.oid AND r.rulename = '_RETURN'),
        (SELECT count(*) FROM pg_inherits i WHERE i.inhparent = c.oid)
    ) AS mark
) now
