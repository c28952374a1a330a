-- Counts an attempt to sign in and says how many there have been in this window and how many seconds of it are left.
-- $1 hash of account and address, $2 seconds of a window. Finds the row by the primary key and locks it, so that attempts
-- at the same time are all counted.
INSERT INTO forge_login_attempts AS known (key, window_start, count) VALUES ($1, now(), 1)
ON CONFLICT (key) DO UPDATE SET
    count = CASE WHEN known.window_start > now() - make_interval(secs => $2) THEN least(known.count + 1, 1000000) ELSE 1 END,
    window_start = CASE WHEN known.window_start > now() - make_interval(secs => $2) THEN known.window_start ELSE now() END
RETURNING count, ceil(extract(epoch FROM window_start + make_interval(secs => $2) - now()))::int4 AS seconds_left
