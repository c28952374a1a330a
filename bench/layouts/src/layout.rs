//! The candidates: a schema each, and the statements that every layout must have, with the same parameters.

const V7: &str = "(lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000)::bigint), 12, '0') || '70008000' || lpad(to_hex(n), 12, '0'))::uuid";

/// The owner and the trace that every job carries here.
pub(crate) const OWNER: &str = r#"{"user": "018f2f6e-7f00-7000-8000-000000000001", "roles": ["member"]}"#;
pub(crate) const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A layout.
///
/// | statement | parameters |
/// |---|---|
/// | `enqueue` | id, kind, queue, priority, most attempts, input, owner, trace |
/// | `coalesced` | the same as arrays |
/// | `unnest` | ids, inputs, then kind, queue, priority, most attempts, owner, trace once |
/// | `fill` | how many, over how many kinds |
/// | `claim` | of each lane: kind, priority, since when, how many at most; then the worker |
/// | `keep` | ids, worker, outputs by id in one object |
/// | `delete` | ids, worker |
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) name: &'static str,
    pub(crate) schema: String,
    pub(crate) enqueue: String,
    pub(crate) coalesced: String,
    pub(crate) unnest: String,
    pub(crate) copy: String,
    pub(crate) fill: String,
    /// What must be locked in a statement of its own before the claim, in the same transaction.
    pub(crate) before_claim: Option<&'static str>,
    pub(crate) claim: String,
    pub(crate) keep: String,
    pub(crate) delete: String,
    /// Throws away what is finished, where that is a step of its own.
    pub(crate) rotate: Option<&'static str>,
}

const COLUMNS: &str = "id, kind, queue, priority, max_attempts, input, owner, trace_id";
const DONE: &str = "id, ready_at, claimed_at, worker, parent, outcome, priority, attempt, crashes, kind, queue, input, owner, trace_id, output, last_error";

fn written_to(table: &str) -> [String; 5] {
    [
        format!("INSERT INTO {table} ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"),
        format!(
            "INSERT INTO {table} ({COLUMNS}) SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::smallint[], $5::smallint[], $6::jsonb[], \
             $7::jsonb[], $8::text[])"
        ),
        format!(
            "INSERT INTO {table} ({COLUMNS}) SELECT u.id, $3, $4, $5, $6, u.input, $7, $8 FROM unnest($1::uuid[], $2::jsonb[]) AS u (id, input)"
        ),
        format!("COPY {table} ({COLUMNS}) FROM STDIN"),
        format!(
            "INSERT INTO {table} ({COLUMNS}) SELECT {V7}, 'kind_' || n % $2::bigint, 'default', 50, 20, jsonb_build_object('n', n), '{OWNER}', '{TRACE}' \
             FROM generate_series(1, $1::bigint) AS n"
        ),
    ]
}

/// How finished rows are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum History {
    /// In partitions with a primary key that begins with the id.
    Key,
    /// In partitions with a block range index on the id.
    Ranges,
    /// In the same row.
    InPlace,
}

/// What index finds the jobs that run. Statements that know ids must never choose it: it is full of what is dead while something holds the
/// horizon. So it is on a column that they do not name, and they do not name its condition either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Running {
    No,
    Worker,
    Claimed,
}

/// What of the first layout is varied.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows {
    pub(crate) name: &'static str,
    pub(crate) history: History,
    pub(crate) running: Running,
    pub(crate) fillfactor: u8,
    /// Whether a claim finds the rows that it has locked by where they lie instead of by id.
    pub(crate) by_place: bool,
}

impl Rows {
    pub(crate) const CHOSEN: Self =
        Self { name: "A rows", history: History::Key, running: Running::Claimed, fillfactor: 100, by_place: false };

    pub(crate) fn layout(self) -> Layout {
        let mut schema = include_str!("sql/rows.sql").to_owned();
        schema += include_str!("sql/history.sql");
        match self.history {
            History::Key => schema += "ALTER TABLE forge_jobs_done ADD PRIMARY KEY (id, finished_at);",
            History::Ranges => {
                schema += "CREATE INDEX forge_jobs_done_id ON forge_jobs_done USING brin (id uuid_minmax_multi_ops) WITH (pages_per_range = 32);";
            }
            History::InPlace => schema += "ALTER TABLE forge_jobs ADD finished_at timestamptz, ADD output jsonb;",
        }
        schema += match self.running {
            Running::No => "",
            Running::Worker => "CREATE INDEX forge_jobs_running ON forge_jobs (worker) WHERE state = 2;",
            Running::Claimed => "CREATE INDEX forge_jobs_running ON forge_jobs (claimed_at) WHERE state = 2;",
        };
        schema += &format!("ALTER TABLE forge_jobs SET (fillfactor = {});", self.fillfactor);
        let [enqueue, coalesced, unnest, copy, fill] = written_to("forge_jobs");
        Layout {
            name: self.name,
            schema,
            enqueue,
            coalesced,
            unnest,
            copy,
            fill,
            before_claim: None,
            claim: format!(
                "UPDATE forge_jobs AS j SET state = 2, attempt = attempt + 1, worker = $5, claimed_at = clock_timestamp()
                 WHERE {place} = ANY (ARRAY(
                     SELECT j.{place}
                     FROM unnest($1::text[], $2::smallint[], $3::timestamptz[], $4::int[]) AS l (kind, priority, since, most)
                     CROSS JOIN LATERAL (
                         SELECT {place} FROM forge_jobs
                         WHERE kind = l.kind AND priority = l.priority AND state = 0 AND ready_at >= l.since
                         ORDER BY ready_at LIMIT l.most FOR UPDATE SKIP LOCKED
                     ) AS j
                 ))
                 RETURNING j.id, j.kind, j.priority, j.ready_at, j.attempt, j.input, j.owner, j.trace_id",
                place = if self.by_place { "ctid" } else { "id" }
            ),
            keep: if self.history == History::InPlace {
                "UPDATE forge_jobs SET state = 4, finished_at = now(), output = $3::jsonb -> id::text
                 WHERE id = ANY ($1::uuid[]) AND worker = $2 RETURNING id"
                    .to_owned()
            } else {
                format!(
                    "WITH d AS (
                        DELETE FROM forge_jobs WHERE id = ANY ($1::uuid[]) AND worker = $2
                        RETURNING *, $3::jsonb -> id::text AS output, 0 AS outcome
                    )
                    INSERT INTO forge_jobs_done ({DONE}) SELECT {DONE} FROM d RETURNING id"
                )
            },
            delete: "DELETE FROM forge_jobs WHERE id = ANY ($1::uuid[]) AND worker = $2 RETURNING id".to_owned(),
            rotate: None,
        }
    }
}

/// A claim is a DELETE and an INSERT.
pub(crate) fn split() -> Layout {
    let [enqueue, coalesced, unnest, copy, fill] = written_to("forge_ready");
    let schema = include_str!("sql/split.sql").to_owned() + include_str!("sql/history.sql");
    Layout {
        name: "A2 moved",
        schema: schema + "ALTER TABLE forge_jobs_done ADD PRIMARY KEY (id, finished_at);",
        enqueue,
        coalesced,
        unnest,
        copy,
        fill,
        before_claim: None,
        claim: format!("WITH d AS ({CLAIMED_READY})
                    INSERT INTO forge_running (id, ready_at, claimed_at, worker, parent, priority, attempt, max_attempts, crashes, kind, queue, input, owner, \
                        trace_id, unique_key, concurrency_key, saved, last_error)
                    SELECT id, ready_at, clock_timestamp(), $5, parent, priority, attempt + 1, max_attempts, crashes, kind, queue, input, owner, trace_id, \
                        unique_key, concurrency_key, saved, last_error FROM d
                    RETURNING id, kind, priority, ready_at, attempt, input, owner, trace_id"),
        keep: format!(
            "WITH d AS (
                DELETE FROM forge_running WHERE id = ANY ($1::uuid[]) AND worker = $2
                RETURNING *, $3::jsonb -> id::text AS output, 0 AS outcome
            )
            INSERT INTO forge_jobs_done ({DONE}) SELECT {DONE} FROM d RETURNING id"
        ),
        delete: "DELETE FROM forge_running WHERE id = ANY ($1::uuid[]) AND worker = $2 RETURNING id".to_owned(),
        rotate: None,
    }
}

// The array, whose length the planner does not guess from the table's, keeps it from reading the whole table for a join.
const CLAIMED_READY: &str = "DELETE FROM forge_ready AS j WHERE j.id = ANY (ARRAY(
                        SELECT j.id
                        FROM unnest($1::text[], $2::smallint[], $3::timestamptz[], $4::int[]) AS l (kind, priority, since, most)
                        CROSS JOIN LATERAL (
                            SELECT id FROM forge_ready
                            WHERE kind = l.kind AND priority = l.priority AND ready_at >= l.since
                            ORDER BY ready_at LIMIT l.most FOR UPDATE SKIP LOCKED
                        ) AS j
                    )) RETURNING j.*";

/// The same with narrow rows, beside an immutable body.
pub(crate) fn narrow() -> Layout {
    let schema = include_str!("sql/narrow.sql").to_owned() + include_str!("sql/history.sql");
    let body = "INSERT INTO forge_body (id, queue, max_attempts, input, owner, trace_id)";
    let ready = "INSERT INTO forge_ready (id, kind, priority)";
    Layout {
        name: "A2 narrow",
        schema: schema + "ALTER TABLE forge_jobs_done ADD PRIMARY KEY (id, finished_at);",
        enqueue: format!("WITH b AS ({body} VALUES ($1, $3, $5, $6, $7, $8)) {ready} VALUES ($1, $2, $4)"),
        coalesced: format!(
            "WITH n AS MATERIALIZED (SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::smallint[], $5::smallint[], $6::jsonb[], $7::jsonb[], \
             $8::text[]) AS n ({COLUMNS})), b AS ({body} SELECT id, queue, max_attempts, input, owner, trace_id FROM n) \
             {ready} SELECT id, kind, priority FROM n"
        ),
        unnest: format!(
            "WITH n AS MATERIALIZED (SELECT * FROM unnest($1::uuid[], $2::jsonb[]) AS u (id, input)), \
             b AS ({body} SELECT id, $4, $6, input, $7, $8 FROM n) {ready} SELECT id, $3, $5 FROM n"
        ),
        // Two COPYs would be needed, in one transaction.
        copy: String::new(),
        fill: format!(
            "WITH n AS MATERIALIZED (SELECT {V7} AS id, n FROM generate_series(1, $1::bigint) AS n), \
             b AS ({body} SELECT id, 'default', 20, jsonb_build_object('n', n), '{OWNER}', '{TRACE}' FROM n) \
             {ready} SELECT id, 'kind_' || n % $2::bigint, 50 FROM n ORDER BY n"
        ),
        before_claim: None,
        claim: format!("WITH d AS ({CLAIMED_READY}),
                    r AS (INSERT INTO forge_running (id, ready_at, claimed_at, worker, priority, attempt, crashes, kind)
                        SELECT id, ready_at, clock_timestamp(), $5, priority, attempt + 1, crashes, kind FROM d)
                    SELECT d.id, d.kind, d.priority, d.ready_at, (d.attempt + 1)::smallint, b.input, b.owner, b.trace_id
                    FROM d JOIN forge_body AS b ON b.id = d.id"),
        keep: format!(
            "WITH d AS (
                DELETE FROM forge_running WHERE id = ANY ($1::uuid[]) AND worker = $2
                RETURNING *, $3::jsonb -> id::text AS output, 0 AS outcome
            ), b AS (DELETE FROM forge_body AS b USING d WHERE b.id = d.id RETURNING b.*)
            INSERT INTO forge_jobs_done ({DONE})
            SELECT d.id, ready_at, claimed_at, worker, parent, outcome, priority, attempt, crashes, kind, queue, input, owner, trace_id, output, NULL
            FROM d JOIN b USING (id) RETURNING id"
        ),
        delete: "WITH d AS (DELETE FROM forge_running WHERE id = ANY ($1::uuid[]) AND worker = $2 RETURNING id)
                 DELETE FROM forge_body AS b USING d WHERE b.id = d.id RETURNING b.id"
            .to_owned(),
        rotate: None,
    }
}

/// Append-only.
pub(crate) fn append() -> Layout {
    let columns = format!("{COLUMNS}, slot");
    let slot = "(SELECT slot FROM forge_ring)";
    let receipt = "WITH w AS (SELECT id FROM forge_workers WHERE id = $2 FOR KEY SHARE), r AS (
                       INSERT INTO forge_receipts (worker, ids";
    Layout {
        name: "B append",
        schema: include_str!("sql/append.sql").to_owned(),
        enqueue: format!("INSERT INTO forge_log ({columns}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, {slot})"),
        coalesced: format!(
            "INSERT INTO forge_log ({columns}) SELECT n.*, {slot} FROM unnest($1::uuid[], $2::text[], $3::text[], $4::smallint[], $5::smallint[], \
             $6::jsonb[], $7::jsonb[], $8::text[]) AS n"
        ),
        unnest: format!(
            "INSERT INTO forge_log ({columns}) SELECT u.id, $3, $4, $5, $6, u.input, $7, $8, {slot} FROM unnest($1::uuid[], $2::jsonb[]) AS u (id, input)"
        ),
        // The slot goes with each row.
        copy: format!("COPY forge_log ({columns}) FROM STDIN"),
        fill: format!(
            "INSERT INTO forge_log ({columns}) SELECT {V7}, 'kind_' || n % $2::bigint, 'default', 50, 20, jsonb_build_object('n', n), '{OWNER}', \
             '{TRACE}', {slot} FROM generate_series(1, $1::bigint) AS n"
        ),
        // A snapshot that is older than the cursor would move it back: the lock comes first, in a statement of its own.
        before_claim: Some(
            "SELECT 1 FROM forge_cursors AS c JOIN unnest($1::text[], $2::smallint[]) AS l (kind, priority) USING (kind, priority) \
             ORDER BY kind, priority FOR UPDATE OF c",
        ),
        claim: "WITH lanes AS MATERIALIZED (
                        SELECT c.kind, c.priority, c.xid, c.seq, c.late, l.most
                        FROM unnest($1::text[], $2::smallint[], $3::timestamptz[], $4::int[]) AS l (kind, priority, since, most)
                        JOIN forge_cursors AS c USING (kind, priority)
                    ), next AS MATERIALIZED (
                        SELECT j.* FROM lanes AS l CROSS JOIN LATERAL (
                            SELECT * FROM forge_log AS j
                            WHERE j.kind = l.kind AND j.priority = l.priority AND (j.xid, j.seq) > (l.xid, l.seq)
                            ORDER BY j.xid, j.seq LIMIT l.most
                        ) AS j
                        UNION ALL
                        SELECT j.* FROM lanes AS l CROSS JOIN LATERAL unnest(l.late) AS x (xid) CROSS JOIN LATERAL (
                            SELECT * FROM forge_log AS j
                            WHERE j.kind = l.kind AND j.priority = l.priority AND j.xid = x.xid ORDER BY j.seq LIMIT 100000
                        ) AS j
                    ), moved AS (
                        UPDATE forge_cursors AS c SET
                            xid = CASE WHEN ahead THEN to_xid ELSE c.xid END,
                            seq = CASE WHEN ahead THEN to_seq ELSE c.seq END,
                            late = ARRAY(SELECT x FROM pg_snapshot_xip(pg_current_snapshot()) AS x WHERE x < to_xid OR x < c.xid)
                        FROM (
                            SELECT DISTINCT ON (n.kind, n.priority) n.kind, n.priority, n.xid AS to_xid, n.seq AS to_seq, (n.xid, n.seq) > (l.xid, l.seq) AS ahead
                            FROM next AS n JOIN lanes AS l USING (kind, priority) ORDER BY n.kind, n.priority, n.xid DESC, n.seq DESC
                        ) AS n
                        WHERE c.kind = n.kind AND c.priority = n.priority
                    ), claimed AS (
                        INSERT INTO forge_claims (worker, ids) SELECT $5, array_agg(id) FROM next HAVING count(*) > 0
                    )
                    SELECT id, kind, priority, ready_at, (attempt + 1)::smallint, input, owner, trace_id FROM next AS j
                    WHERE NOT EXISTS (SELECT FROM forge_tombstones AS t WHERE t.id = j.id)"
            .to_owned(),
        keep: format!("{receipt}, outputs) SELECT w.id, $1::uuid[], $3::jsonb FROM w RETURNING ids) SELECT unnest(ids) FROM r"),
        delete: format!("{receipt}) SELECT w.id, $1::uuid[] FROM w RETURNING ids) SELECT unnest(ids) FROM r"),
        rotate: Some(
            "DO $$ DECLARE old smallint := (SELECT slot FROM forge_ring); BEGIN
                 UPDATE forge_ring SET slot = (slot + 1) % 4;
                 EXECUTE format('TRUNCATE forge_log_%s', old);
                 TRUNCATE forge_claims, forge_receipts;
             END $$",
        ),
    }
}
