CREATE TABLE items (
    id bigint PRIMARY KEY,
    name text NOT NULL,
    qty int NOT NULL,
    price float8 NOT NULL,
    note text NOT NULL
);

INSERT INTO items SELECT i, 'item ' || i, 0, i * 1.5, repeat('x', 64) FROM generate_series(1, 100000) i;

CREATE TABLE audit (
    id bigserial PRIMARY KEY,
    item_id bigint NOT NULL,
    note text,
    created_at timestamptz DEFAULT now()
);
