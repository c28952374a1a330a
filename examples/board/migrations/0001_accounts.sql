CREATE TABLE users (
    id uuid PRIMARY KEY,
    -- In lower case, so that one address is one account however it is typed.
    email varchar(254) NOT NULL UNIQUE CHECK (email = lower(email)),
    name varchar(80) NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Apart from `users`, so that no query about people ever touches a password's hash.
CREATE TABLE credentials (
    user_id uuid PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    password_hash text NOT NULL
);
