//! The same verbs where rows are immutable: what is put off moves to a side table and comes back as a new row; what must not run gets a
//! tombstone; who has what is found by comparing receipts.

use uuid::Uuid;

use super::{AROUND, measure};
use crate::drain::{Claimer, Lanes, WORKER, Worker};
use crate::layout::append;
use layouts::Result;
use layouts::database::fresh;
use layouts::table::say;

const SIDE: &str = "CREATE TABLE forge_later (
    id uuid PRIMARY KEY, run_at timestamptz NOT NULL, attempt smallint NOT NULL, priority smallint NOT NULL, max_attempts smallint NOT NULL,
    crashes smallint NOT NULL, kind text NOT NULL, queue text NOT NULL, input jsonb NOT NULL, owner jsonb, trace_id text, last_error text
);
CREATE INDEX forge_later_due ON forge_later (run_at);";
const CARRIED: &str = "id, attempt, priority, max_attempts, crashes, kind, queue, input, owner, trace_id";
/// Which of several rows of one id is meant: the last.
const RETRY: &str = "WITH w AS (SELECT id FROM forge_workers WHERE id = $2 FOR KEY SHARE), last AS (
        SELECT DISTINCT ON (j.id) j.* FROM w, unnest($1::uuid[]) AS f (id) JOIN forge_log AS j ON j.id = f.id ORDER BY j.id, j.xid DESC, j.seq DESC
    ), ended AS (
        INSERT INTO forge_receipts (worker, ids) SELECT w.id, $1 FROM w
    )
    INSERT INTO forge_later (id, attempt, priority, max_attempts, crashes, kind, queue, input, owner, trace_id, run_at)
    SELECT id, (attempt + 1)::smallint, priority, max_attempts, crashes, kind, queue, input, owner, trace_id, now() + interval '30 seconds' FROM last
    RETURNING id";
/// Whether it waits: it lies behind the cursor of its lane, which stands still meanwhile.
const CANCEL: &str = "WITH c AS (
        SELECT c.* FROM forge_cursors AS c JOIN forge_log AS j USING (kind, priority) WHERE j.id = $1 FOR SHARE OF c
    )
    INSERT INTO forge_tombstones SELECT j.id FROM forge_log AS j JOIN c USING (kind, priority)
    WHERE j.id = $1 AND ((j.xid, j.seq) > (c.xid, c.seq) OR j.xid = ANY (c.late)) RETURNING id";
const TAKEOVER: &str = "WITH dead AS (DELETE FROM forge_workers WHERE id = $1 RETURNING id), had AS (
        SELECT unnest(ids) AS id FROM forge_claims WHERE worker IN (SELECT id FROM dead)
        EXCEPT SELECT unnest(ids) FROM forge_receipts WHERE worker IN (SELECT id FROM dead)
    ), last AS (
        SELECT DISTINCT ON (j.id) j.* FROM had JOIN forge_log AS j USING (id) ORDER BY j.id, j.xid DESC, j.seq DESC
    )
    INSERT INTO forge_log (id, attempt, priority, max_attempts, crashes, kind, queue, input, owner, trace_id, slot)
    SELECT id, attempt, priority, max_attempts, (crashes + 1)::smallint, kind, queue, input, owner, trace_id, (SELECT slot FROM forge_ring) FROM last
    RETURNING id";

pub(super) async fn run(url: &str) -> Result<()> {
    let layout = append();
    let client = fresh(url, &(layout.schema.clone() + SIDE)).await?;
    client.execute(&layout.fill, &[&AROUND, &100_i64]).await?;
    client.batch_execute("VACUUM ANALYZE").await?;
    say("B append")?;
    let promote = format!(
        "WITH due AS (SELECT id FROM forge_later WHERE run_at <= now() + interval '1 hour' ORDER BY run_at LIMIT $1 FOR UPDATE SKIP LOCKED),
         gone AS (DELETE FROM forge_later AS j USING due WHERE j.id = due.id RETURNING j.*)
         INSERT INTO forge_log ({CARRIED}, slot) SELECT {CARRIED}, (SELECT slot FROM forge_ring) FROM gone RETURNING id"
    );
    let claimer = Claimer::new(url, &layout, Worker::DEFAULT).await?;
    let mut claimed: Vec<Uuid> = Vec::new();
    while claimed.len() < 5000 {
        let mut lanes = Lanes::of(100);
        claimed.extend(claimer.next(&mut lanes, 500).await?.iter().map(|row| row.get::<_, Uuid>("id")));
    }
    let retry = client.prepare(RETRY).await?;
    measure(&client, "retry with backoff, 500 a statement", 4500, 9, async || {
        for some in claimed[..4500].chunks(500) {
            if client.query(&retry, &[&some, &WORKER]).await?.len() != some.len() {
                return Err("not all put off".into());
            }
        }
        Ok(())
    })
    .await?;
    let promote = client.prepare(&promote).await?;
    measure(&client, "promotion in thousands", 4500, 5, async || {
        for _ in 0..5 {
            client.query(&promote, &[&1000_i64]).await?;
        }
        Ok(())
    })
    .await?;
    let waiting: Vec<Uuid> = client
        .query("SELECT id FROM forge_log AS j JOIN forge_cursors AS c USING (kind, priority) WHERE j.xid = c.xid AND j.seq > c.seq LIMIT 1000", &[])
        .await?
        .iter()
        .map(|row| row.get(0))
        .collect();
    let cancel = client.prepare(CANCEL).await?;
    measure(&client, "cancel of a waiting one; its lane stands still", 1000, 1000, async || {
        for id in &waiting {
            client.query_one(&cancel, &[id]).await?;
        }
        Ok(())
    })
    .await?;
    let takeover = client.prepare(TAKEOVER).await?;
    measure(&client, "takeover of 500, of 200,000", 500, 1, async || {
        match client.query(&takeover, &[&WORKER]).await?.len() {
            500 => Ok(()),
            other => Err(format!("{other} were taken over").into()),
        }
    })
    .await
}
