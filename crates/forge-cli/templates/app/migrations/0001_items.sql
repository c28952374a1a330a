CREATE TABLE items (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    title varchar(200) NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- For the newest first.
CREATE INDEX idx_items_created_at ON items (created_at);
