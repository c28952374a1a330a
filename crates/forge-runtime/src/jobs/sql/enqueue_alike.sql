-- As enqueue_plain.sql, of jobs that differ in their inputs only: what one call dispatches at once.
WITH start AS MATERIALIZED (
    SELECT clock_timestamp() AS now
), written AS (
    INSERT INTO forge_jobs (id, kind, queue, priority, ready_at, input, owner, trace)
    SELECT j.id, $3::text, $4::text, $5::int2, start.now + j.n * interval '1 microsecond', j.input::json, $6::text::json, $7::text
    FROM start, unnest($1::uuid[], $2::text[]) WITH ORDINALITY AS j (id, input, n)
)
SELECT now FROM start
