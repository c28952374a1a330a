-- The answer kept for a caller's mutation id.
-- $1 caller, $2 id. Reads by the primary key; locks nothing.
SELECT fingerprint, answer FROM forge_mutations WHERE caller = $1 AND id = $2
