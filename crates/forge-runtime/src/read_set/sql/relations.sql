-- What each of these names stands for. Goes on in mark.sql. Reads the catalogue by its own indexes; takes no locks beyond theirs.
SELECT n.place, c.oid, format('%I.%I', s.nspname, c.relname) AS name, c.relkind::text AS kind,
       s.nspname IN ('pg_catalog', 'information_schema', 'pg_toast') AS system,
       c.relnatts::int AS attributes,
       -- The definition below is as new as this or newer.
       now.mark,
       row_security_active(c.oid) AS policies,
       EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = c.oid) AS partition,
       CASE WHEN c.relkind = 'v' THEN pg_get_viewdef(c.oid) END AS definition,
       a.columns, a.types, a.type_names, a.enums, a.plain, a.ordered, f.family, f.family_names
FROM unnest($1) WITH ORDINALITY AS n (name, place)
JOIN pg_class c ON c.oid = to_regclass(n.name)
JOIN pg_namespace s ON s.oid = c.relnamespace
CROSS JOIN LATERAL (
    SELECT array_agg(a.attname::text ORDER BY a.attnum) AS columns,
           array_agg(a.atttypid ORDER BY a.attnum) AS types,
           array_agg(t.typtype = 'e' ORDER BY a.attnum) AS enums,
           -- Under a collation that calls different texts equal, rows cannot be matched by their text.
           array_agg(coalesce(l.collisdeterministic, true) ORDER BY a.attnum) AS plain,
           array_agg(format('%I.%I', ts.nspname, t.typname) ORDER BY a.attnum) AS type_names,
           -- The order of text is that of its bytes under these collations, which are everywhere the same, in this encoding.
           array_agg(
               coalesce(
                   CASE WHEN l.oid = 'pg_catalog."default"'::regcollation
                       THEN d.datlocprovider = 'c' AND d.datcollate IN ('C', 'POSIX')
                       ELSE l.collname IN ('C', 'POSIX', 'ucs_basic') AND l.collnamespace = 'pg_catalog'::regnamespace
                   END AND d.encoding = 6,
                   true
               ) ORDER BY a.attnum
           ) AS ordered
    FROM pg_attribute a
    JOIN pg_type t ON t.oid = a.atttypid
    JOIN pg_namespace ts ON ts.oid = t.typnamespace
    JOIN pg_database d ON d.datname = current_database()
    LEFT JOIN pg_collation l ON l.oid = a.attcollation
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
) a
CROSS JOIN LATERAL (
    WITH RECURSIVE family (oid) AS (
        SELECT c.oid
        UNION
        SELECT i.inhrelid FROM family JOIN pg_inherits i ON i.inhparent = family.oid
    )
    SELECT array_agg(m.oid ORDER BY m.oid) AS family,
           array_agg(format('%I.%I', ms.nspname, m.relname) ORDER BY m.oid) AS family_names
    FROM family
    JOIN pg_class m ON m.oid = family.oid
    JOIN pg_namespace ms ON ms.oid = m.relnamespace
) f
