-- Forgets the attempts of one account from one address, after it signed in.
-- $1 hash of account and address. Finds the row by the primary key and locks it.
DELETE FROM forge_login_attempts WHERE key = $1
