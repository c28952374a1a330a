-- Lets jobs of a concurrency key in, as many as it has places for: the most urgent first, then those that wait longest. Whoever runs it holds
-- the key's advisory lock, since before the snapshot of this statement, so that no two let in at once. forge_jobs_keys serves it. What others have
-- their hands on (it is being cancelled, or marked as followed) is skipped, as they lock in another order; a look finds it if it waits still.
UPDATE forge_jobs
SET state = 0, ready_at = clock_timestamp()
WHERE id = ANY (ARRAY(
    SELECT id FROM forge_jobs
    WHERE kind = $1 AND concurrency_key = $2 AND state = 3
    ORDER BY priority DESC, ready_at
    LIMIT greatest(0, $3::int8 - (SELECT count(*) FROM forge_jobs WHERE kind = $1 AND concurrency_key = $2 AND state IN (0, 2)))
    FOR UPDATE SKIP LOCKED
))
RETURNING priority, ready_at
