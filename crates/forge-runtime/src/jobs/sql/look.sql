-- What there is to do, lane by lane: where the first ready job of each stands. And how long it is until the next scheduled one is due, in
-- microseconds, which of this worker's jobs are to be cancelled, whether anything runs on a node that is not alive, whether anything waits for a
-- place of its key, and what this worker has, by job and claim. One row per lane that has something, and one with the rest.
SELECT lane.n, j.ready_at, NULL::int8 AS due, NULL::uuid[] AS cancelled, false AS lost, false AS held,
       NULL::uuid[] AS jobs, NULL::int4[] AS claims
FROM unnest($1::text[], $2::int2[]) WITH ORDINALITY AS lane (kind, priority, n)
CROSS JOIN LATERAL (
    SELECT ready_at FROM forge_jobs WHERE kind = lane.kind AND priority = lane.priority AND state = 0 ORDER BY ready_at LIMIT 1
) j
UNION ALL
SELECT NULL, NULL,
       (SELECT (extract(epoch FROM min(run_at) - clock_timestamp() - $3::int8 * interval '1 microsecond') * 1000000)::int8
        FROM forge_jobs WHERE state = 1),
       mine.cancelled,
       EXISTS (SELECT FROM forge_jobs j WHERE j.state = 2
               AND NOT EXISTS (SELECT FROM forge_nodes n WHERE n.id = j.worker AND n.status <> 'dead')),
       EXISTS (SELECT FROM forge_jobs WHERE concurrency_key IS NOT NULL AND state = 3),
       mine.jobs, mine.claims
FROM (SELECT array_agg(id) FILTER (WHERE cancel_requested) AS cancelled, array_agg(id) AS jobs, array_agg(claims) AS claims
      FROM forge_jobs WHERE state = 2 AND worker = $4) AS mine
