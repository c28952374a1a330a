-- Somebody wants to be told when these jobs get on. Waits for nobody: those that others have their hands on are answered, to be asked for again. By
-- primary key.
WITH free AS MATERIALIZED (
    SELECT id FROM forge_jobs WHERE id = ANY ($1) AND NOT tracked FOR UPDATE SKIP LOCKED
), marked AS (
    UPDATE forge_jobs SET tracked = true WHERE id = ANY (ARRAY(SELECT id FROM free))
)
SELECT id FROM forge_jobs WHERE id = ANY ($1) AND NOT tracked AND id <> ALL (ARRAY(SELECT id FROM free))
