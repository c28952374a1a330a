-- Takes jobs from lanes: from each at most so many, beginning where this worker last took one. What others have their hands on is skipped, and
-- what is paused left alone. forge_jobs_ready serves it: within a lane it reads from the given place on, so that it does not walk over what was
-- taken before and cannot be vacuumed yet. The array makes sure that the lanes are read once and their rows then looked up by key; a join would
-- be planned as a scan of the whole table. It does not wait for the disk: what a crash of the server takes back is claimed again, by a worker that
-- is fenced from the first one, or by that one, for which it is the same job. Locks the rows that it takes.
UPDATE forge_jobs
SET state = 2, worker = $1, attempt = attempt + 1, claims = claims + 1, claimed_at = clock_timestamp()
WHERE id = ANY (ARRAY(
    SELECT j.id
    FROM (SELECT set_config('synchronous_commit', 'off', true)) AS quick
    CROSS JOIN unnest($2::text[], $3::text[], $4::int2[], $5::timestamptz[], $6::int4[]) AS lane (kind, queue, priority, start, n)
    CROSS JOIN LATERAL (
        SELECT id FROM forge_jobs
        WHERE kind = lane.kind AND priority = lane.priority AND state = 0 AND ready_at >= lane.start
        ORDER BY ready_at
        LIMIT lane.n
        FOR UPDATE SKIP LOCKED
    ) j
    WHERE NOT EXISTS (SELECT FROM forge_job_queues q WHERE q.queue = lane.queue AND q.paused)
))
RETURNING id, kind, priority, ready_at, attempt, input, owner, trace, concurrency_key, saved, cancel_requested, claims, tracked,
          parent IS NOT NULL
