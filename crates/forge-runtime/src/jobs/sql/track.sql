-- Somebody wants to be told when these jobs get on.
UPDATE forge_jobs SET tracked = true WHERE id = ANY ($1) AND NOT tracked
