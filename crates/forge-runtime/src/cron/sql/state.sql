-- How crons stand; those that are new begin now.
WITH known AS (
    INSERT INTO forge_crons (name, last_slot)
    SELECT name, clock_timestamp() + $2::int8 * interval '1 microsecond' FROM unnest($1::text[]) AS c (name)
    ON CONFLICT (name) DO NOTHING
    RETURNING name, last_slot, paused
)
SELECT name, last_slot, paused, clock_timestamp() + $2::int8 * interval '1 microsecond' FROM forge_crons WHERE name = ANY ($1)
UNION ALL
SELECT name, last_slot, paused, clock_timestamp() + $2::int8 * interval '1 microsecond' FROM known
