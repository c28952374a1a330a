-- Times that were decided so long ago that nobody asks any more; some at a time, past what another node has its hands on. forge_cron_runs_decided serves it.
DELETE FROM forge_cron_runs
WHERE (cron, slot, hand) IN (
    SELECT cron, slot, hand FROM forge_cron_runs WHERE decided_at < clock_timestamp() - interval '90 days'
    ORDER BY decided_at LIMIT 1000 FOR UPDATE SKIP LOCKED
)
