-- The indexes of a relation ($1) that can be used, with their key columns; an expression has no name.
SELECT i.indisunique AS is_unique,
       i.indpred IS NULL AS whole,
       ARRAY(SELECT coalesce(a.attname::text, '')
             FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (number, place)
             LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number AND k.number <> 0
             WHERE k.place <= i.indnkeyatts
             ORDER BY k.place) AS columns
FROM pg_index i
WHERE i.indrelid = $1::oid AND i.indisvalid
