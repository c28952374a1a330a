-- How crons stand, those that a scheduler has seen. By primary key.
SELECT name, last_slot, paused, paused_by, paused_at, missed FROM forge_crons WHERE name = ANY ($1)
