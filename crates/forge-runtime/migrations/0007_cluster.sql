-- The nodes of this database. A row is written when a node has found its schema, and deleted when it has stopped in order; one whose
-- node is gone is marked dead by another node, stays for an hour for people to see, and never comes back to life: a node that was taken
-- for dead joins again under another id.
CREATE TABLE forge_nodes (
    id uuid PRIMARY KEY,
    hostname text NOT NULL,
    -- Where it listens, if it is a gateway. For people: nodes speak to each other through the database only.
    address text,
    roles text[] NOT NULL,
    capabilities text[] NOT NULL,
    status text NOT NULL CHECK (status IN ('joining', 'active', 'draining', 'dead')),
    -- Of the app, and of the framework in it.
    version text NOT NULL,
    forge_version text NOT NULL,
    started_at timestamptz NOT NULL,
    last_heartbeat timestamptz NOT NULL DEFAULT now(),
    -- The session that it beats with, if that is one of its own: when it is gone, so is the node, or it is about to reconnect. A pid alone may be
    -- somebody else's by now.
    backend_pid int4,
    backend_start timestamptz,
    connections int4 NOT NULL DEFAULT 0,
    jobs int4 NOT NULL DEFAULT 0,
    jobs_max int4 NOT NULL DEFAULT 0,
    -- In processors: 1.5 is one and a half of them.
    cpu float4 NOT NULL DEFAULT 0,
    -- In bytes.
    memory int8 NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

-- Who leads. A row is never deleted, as its term only grows: it is what every write of a leader is fenced with. There is no foreign key to the
-- node: the end of a node must not wait for whoever reads this row FOR SHARE.
CREATE TABLE forge_leaders (
    role text PRIMARY KEY,
    -- Nobody, when the last one has resigned.
    node_id uuid,
    term bigint NOT NULL,
    acquired_at timestamptz NOT NULL DEFAULT now(),
    lease_until timestamptz NOT NULL,
    -- Whether the leader has an advisory lock as well. Then whoever gets that lock knows that the leader's session has ended, and need not wait for the lease.
    locked boolean NOT NULL
) WITH (fillfactor = 50);
