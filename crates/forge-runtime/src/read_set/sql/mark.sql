-- The end of a statement that looks names up: the mark of what each stands for, which is c. Another mark, and the name stands for something else.
CROSS JOIN LATERAL (
    SELECT concat_ws(
        ' ', c.oid, c.relkind, c.relnatts, c.relrowsecurity,
        (SELECT r.xmin FROM pg_rewrite r WHERE r.ev_class = c.oid AND r.rulename = '_RETURN'),
        -- Its partitions and heirs, at whatever distance: as many others are another family.
        (
            WITH RECURSIVE heirs (oid) AS (
                SELECT i.inhrelid FROM pg_inherits i WHERE i.inhparent = c.oid
                UNION
                SELECT i.inhrelid FROM heirs JOIN pg_inherits i ON i.inhparent = heirs.oid
            )
            SELECT md5(string_agg(heirs.oid::text, ',' ORDER BY heirs.oid)) FROM heirs
        )
    ) AS mark
) now
