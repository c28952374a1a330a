-- Keeps the answer of a mutation under its id, in the mutation's own transaction.
-- $1 caller, $2 id, $3 fingerprint, $4 answer. Fails on the primary key when another call with this id was faster.
INSERT INTO forge_mutations (caller, id, fingerprint, answer) VALUES ($1, $2, $3, $4)
