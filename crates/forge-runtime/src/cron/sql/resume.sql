-- Lets a cron go on from now; nothing when it is not paused. What passed meanwhile is not made up for, whether or not a scheduler saw it;
-- nor is waited for a time that was decided ahead of the clock, before that was put back. A time that has a run is not run again for all that. By primary key.
UPDATE forge_crons
SET paused = false, paused_by = NULL, paused_at = NULL, last_slot = clock_timestamp() + $2::int8 * interval '1 microsecond'
WHERE name = $1 AND paused
