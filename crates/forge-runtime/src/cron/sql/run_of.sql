-- The job of a time that was decided. By primary key.
SELECT job FROM forge_cron_runs WHERE cron = $1 AND slot = $2 AND hand = $3 AND job IS NOT NULL
