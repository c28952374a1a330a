-- Forgets the attempts of one account from one address, after it signed in, and this one of the address.
-- $1 hash of account and address, $2 hash of the address or NULL. Finds the rows by the primary key and locks them.
WITH one_less AS (UPDATE forge_login_attempts SET count = count - 1 WHERE key = $2 AND count > 0)
DELETE FROM forge_login_attempts WHERE key = $1
