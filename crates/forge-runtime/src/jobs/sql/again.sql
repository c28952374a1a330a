-- Gives jobs back that are to run again: at once, or after a while. Those that were begun but did nothing (handed back by a worker that stops,
-- or has too much) get their attempt back. An attempt that came to an
-- end has taken no worker down: crashes are counted in a row. One that is to end does not wait: whoever claims it next ends it. What is special about each is in one object, by id.
UPDATE forge_jobs
SET state = CASE WHEN ($3::jsonb -> id::text ->> 'delay')::int8 > 0 AND NOT cancel_requested THEN 1 WHEN concurrency_key IS NOT NULL THEN 3 ELSE 0 END,
    run_at = CASE WHEN ($3::jsonb -> id::text ->> 'delay')::int8 > 0 AND NOT cancel_requested
                  THEN clock_timestamp() + (($3::jsonb -> id::text ->> 'delay')::int8 + $4::int8) * interval '1 microsecond' END,
    ready_at = CASE WHEN ($3::jsonb -> id::text -> 'unspent')::bool AND ($3::jsonb -> id::text ->> 'delay')::int8 = 0 THEN ready_at
                    ELSE clock_timestamp() END,
    attempt = attempt - (($3::jsonb -> id::text -> 'unspent')::bool)::int,
    crashes = CASE WHEN ($3::jsonb -> id::text -> 'unspent')::bool AND ($3::jsonb -> id::text ->> 'delay')::int8 = 0 THEN crashes ELSE 0 END,
    error = coalesce(($3::jsonb -> id::text -> 'error')::json, error),
    worker = NULL, claimed_at = NULL
WHERE id = ANY ($2::uuid[]) AND worker = $1 AND claims = ($3::jsonb -> id::text -> 'claim')::int4
RETURNING id, kind, priority, state, ready_at, run_at, tracked, concurrency_key
