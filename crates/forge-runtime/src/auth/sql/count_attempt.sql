-- Counts an attempt to sign in and says, of each of its keys, how many there have been in this window and how many seconds of it are left.
-- $1 hashes: of account and address, and of the address alone. $2 seconds of a window. Finds the rows by the primary key and locks them in
-- its order, so that attempts at the same time are all counted and none waits for another in a circle.
INSERT INTO forge_login_attempts AS known (key, window_start, count)
SELECT key, now(), 1 FROM unnest($1) AS key ORDER BY key
ON CONFLICT (key) DO UPDATE SET
    count = CASE WHEN known.window_start > now() - make_interval(secs => $2) THEN least(known.count + 1, 1000000) ELSE 1 END,
    window_start = CASE WHEN known.window_start > now() - make_interval(secs => $2) THEN known.window_start ELSE now() END
RETURNING key, count, ceil(extract(epoch FROM window_start + make_interval(secs => $2) - now()))::int4 AS seconds_left
