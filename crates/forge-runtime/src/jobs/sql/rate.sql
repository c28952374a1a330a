-- Takes starts of a kind's window, at most so many; a window that is over, or that has not begun as the clock was
-- put back, gives way to a new one. Answers how many there were, and how long what
-- was taken holds, in microseconds. Locks the kind's row.
WITH old AS (
    SELECT * FROM forge_job_rates WHERE kind = $1 FOR UPDATE
), now AS (
    SELECT kind, taken, window_began, clock_timestamp() AS at, clock_timestamp() NOT BETWEEN window_began AND window_began + $4::int8 * interval '1 microsecond' AS over
    FROM old
), next AS (
    SELECT kind, CASE WHEN over THEN at ELSE window_began END AS began, CASE WHEN over THEN 0 ELSE taken END AS before, at FROM now
)
UPDATE forge_job_rates r
SET window_began = next.began, taken = least($3::int4, next.before + $2::int4)
FROM next
WHERE r.kind = next.kind
RETURNING greatest(0, least($3::int4, next.before + $2::int4) - next.before),
          (extract(epoch FROM next.began - next.at) * 1000000)::int8 + $4::int8
