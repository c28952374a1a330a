-- The kinds that have a rate have a row.
INSERT INTO forge_job_rates (kind, window_began, taken) SELECT kind, clock_timestamp(), 0 FROM unnest($1::text[]) AS k (kind) ON CONFLICT DO NOTHING
