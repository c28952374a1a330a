-- Writes down jobs that are ready, have no key and no parent. Answers the place of the first of them in its lane; those behind it follow it. Nothing
-- is joined and nothing is answered of each, as there is nothing to say.
WITH start AS MATERIALIZED (
    SELECT clock_timestamp() AS now
), written AS (
    INSERT INTO forge_jobs (id, kind, queue, priority, ready_at, input, owner, trace)
    SELECT j.id, j.kind, j.queue, j.priority, start.now + j.n * interval '1 microsecond', j.input::json, j.owner::json, j.trace
    FROM start, unnest($1::uuid[], $2::text[], $3::text[], $4::int2[], $5::text[], $6::text[], $7::text[])
         WITH ORDINALITY AS j (id, kind, queue, priority, input, owner, trace, n)
)
SELECT now FROM start
