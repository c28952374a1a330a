-- Times of a cron that are not run any more, up to the last of them.
WITH leads AS MATERIALIZED (
    SELECT term FROM forge_leaders WHERE role = $1 AND term = $2 FOR SHARE
)
UPDATE forge_crons SET last_slot = greatest(last_slot, $4), missed = missed + $5 FROM leads WHERE name = $3
