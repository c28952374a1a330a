-- What there is to do, lane by lane: where the first ready job of each stands. And how long it is until the next scheduled one is due, in
-- microseconds, and which of this worker's jobs are to be cancelled. One row per lane that has something, and one with the rest.
SELECT lane.n, j.ready_at, NULL::int8 AS due, NULL::uuid[] AS cancelled
FROM unnest($1::text[], $2::int2[]) WITH ORDINALITY AS lane (kind, priority, n)
CROSS JOIN LATERAL (
    SELECT ready_at FROM forge_jobs WHERE kind = lane.kind AND priority = lane.priority AND state = 0 ORDER BY ready_at LIMIT 1
) j
UNION ALL
SELECT NULL, NULL,
       (SELECT (extract(epoch FROM min(run_at) - clock_timestamp() - $3::int8 * interval '1 microsecond') * 1000000)::int8
        FROM forge_jobs WHERE state = 1),
       (SELECT array_agg(id) FROM forge_jobs WHERE state = 2 AND worker = $4 AND cancel_requested)
