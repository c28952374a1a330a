-- Pauses a cron, also one that no scheduler has seen yet; nothing when it is paused already. By primary key.
INSERT INTO forge_crons AS c (name, last_slot, paused, paused_by, paused_at)
VALUES ($1, clock_timestamp() + $2::int8 * interval '1 microsecond', true, $3, clock_timestamp())
ON CONFLICT (name) DO UPDATE SET paused = true, paused_by = excluded.paused_by, paused_at = excluded.paused_at WHERE NOT c.paused
