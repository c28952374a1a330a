-- Immutable rows in a ring of partitions; a claim moves the cursor of a lane, claims and ends are receipts of whole batches.
CREATE TABLE forge_ring (slot smallint NOT NULL);
INSERT INTO forge_ring VALUES (0);
CREATE TABLE forge_log (
    id uuid NOT NULL,
    seq bigint GENERATED ALWAYS AS IDENTITY,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    ready_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    parent uuid,
    slot smallint NOT NULL,
    priority smallint NOT NULL DEFAULT 50,
    attempt smallint NOT NULL DEFAULT 0,
    max_attempts smallint NOT NULL DEFAULT 20,
    crashes smallint NOT NULL DEFAULT 0,
    kind text NOT NULL,
    queue text NOT NULL DEFAULT 'default',
    input jsonb NOT NULL,
    owner jsonb,
    trace_id text,
    unique_key text,
    concurrency_key text
) PARTITION BY LIST (slot);
CREATE TABLE forge_log_0 PARTITION OF forge_log FOR VALUES IN (0);
CREATE TABLE forge_log_1 PARTITION OF forge_log FOR VALUES IN (1);
CREATE TABLE forge_log_2 PARTITION OF forge_log FOR VALUES IN (2);
CREATE TABLE forge_log_3 PARTITION OF forge_log FOR VALUES IN (3);
CREATE INDEX forge_log_lane ON forge_log (kind, priority, xid, seq);
CREATE INDEX forge_log_id ON forge_log (id);
-- `late`: transactions that had begun, and not ended, when the cursor passed their place.
CREATE TABLE forge_cursors (
    kind text NOT NULL,
    priority smallint NOT NULL,
    xid xid8 NOT NULL DEFAULT '0',
    seq bigint NOT NULL DEFAULT 0,
    late xid8[] NOT NULL DEFAULT '{}',
    PRIMARY KEY (kind, priority)
) WITH (fillfactor = 10);
INSERT INTO forge_cursors (kind, priority) SELECT 'kind_' || n, 50 FROM generate_series(0, 99) AS n;
CREATE TABLE forge_claims (worker uuid NOT NULL, claimed_at timestamptz NOT NULL DEFAULT now(), ids uuid[] NOT NULL);
CREATE INDEX forge_claims_worker ON forge_claims (worker);
CREATE TABLE forge_receipts (worker uuid NOT NULL, finished_at timestamptz NOT NULL DEFAULT now(), ids uuid[] NOT NULL, outputs jsonb);
CREATE TABLE forge_tombstones (id uuid PRIMARY KEY);
CREATE TABLE forge_workers (id uuid PRIMARY KEY);
INSERT INTO forge_workers VALUES ('00000000-0000-7000-8000-00000000000a');
