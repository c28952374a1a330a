//! What reading and sweeping rows costs, and that neither misses any, on a real server.

use std::time::Instant;

use tokio_postgres::Client;

use super::sweep::ChangeSweep;
use super::{CHANGES, ChangeFeed, KEPT};
use crate::db::{Database, Shape};
use crate::realtime::differential::{Place, config, connect, on_one_thread};

/// A row that some statement left behind.
const ROW: &str = r#"INSERT INTO forge_changes (change) VALUES ('{"t":1,"k":[],"c":null,"r":null}')"#;

/// How many blocks of the table and its index a look at a few rows may touch: the way down the index, a leaf or two, and the rows.
const FEW_BLOCKS: i64 = 40;

struct Feed {
    feed: ChangeFeed,
    database: Database,
}

impl Feed {
    /// A feed that has read its first batch, which is a gap.
    async fn begun(place: &Place) -> Self {
        let config = config(&place.url);
        let database = Database::new("feed", &config.database).unwrap();
        let feed = crate::feed::feed(&database, &config.reactivity).0;
        let mut begun = Self { feed, database };
        begun.read().await;
        begun
    }

    /// Reads a batch: how many changes it has, and how many blocks were looked at for them.
    async fn read(&mut self) -> (usize, i64) {
        let touched = Shape::of(
            "SELECT sum(pg_stat_get_xact_blocks_fetched(c.oid))::int8 FROM pg_class c WHERE c.relname LIKE 'forge_changes%'",
        );
        let snapshot = self.database.begin_live(false).await.unwrap();
        let before: i64 = snapshot.query(&touched, &[]).await.unwrap().rows[0].get(0);
        let batch = self.feed.read(&snapshot).await.unwrap();
        let after: i64 = snapshot.query(&touched, &[]).await.unwrap().rows[0].get(0);
        snapshot.rollback().await;
        (batch.changes.len(), after - before)
    }
}

/// As many transactions with a row each.
async fn write(client: &Client, count: usize) {
    client
        .batch_execute(&format!("DO $do$ BEGIN FOR n IN 1..{count} LOOP {ROW}; COMMIT; END LOOP; END $do$"))
        .await
        .unwrap();
}

async fn rows(client: &Client) -> i64 {
    client.query_one("SELECT count(*) FROM forge_changes", &[]).await.unwrap().get(0)
}

#[test]
fn reading_costs_what_is_new_whatever_else_lies_there() {
    on_one_thread(async {
        let place = Place::make().await;
        let client = connect(&place.url).await;
        client.batch_execute("ALTER TABLE forge_changes SET (autovacuum_enabled = off)").await.unwrap();
        // Somebody's transaction that stays open, and with it nothing that was deleted since can be cleaned up.
        let idle = connect(&place.url).await;
        idle.batch_execute("BEGIN; SELECT pg_current_xact_id()").await.unwrap();
        let mut feed = Feed::begun(&place).await;
        write(&client, 6_000).await;
        client.batch_execute("DELETE FROM forge_changes").await.unwrap();
        write(&client, 6_000).await;
        assert_eq!(feed.read().await.0, 6_000);
        // As many again that nobody can see yet.
        let bulk = connect(&place.url).await;
        bulk.batch_execute("BEGIN").await.unwrap();
        bulk.batch_execute(&format!("DO $do$ BEGIN FOR n IN 1..6000 LOOP {ROW}; END LOOP; END $do$")).await.unwrap();
        // The first look passes them, and learns that they are not to be seen.
        write(&client, 1).await;
        assert_eq!(feed.read().await.0, 1);
        for _ in 0..3 {
            write(&client, 1).await;
            let (changes, blocks) = feed.read().await;
            assert_eq!(changes, 1);
            assert!(blocks <= FEW_BLOCKS, "{blocks} blocks were looked at for one change");
        }
        let (changes, blocks) = feed.read().await;
        assert!(changes == 0 && blocks <= FEW_BLOCKS, "{changes} changes, {blocks} blocks for nothing");
        bulk.batch_execute("COMMIT").await.unwrap();
        assert_eq!(feed.read().await.0, 6_000, "what was open before and has ended is read, once");
        assert_eq!(feed.read().await.0, 0);
    });
}

#[test]
fn reading_is_not_compiled_when_nothing_is_known_of_the_tables() {
    on_one_thread(async {
        let place = Place::make().await;
        let client = connect(&place.url).await;
        for table in ["forge_changes", "forge_feed"] {
            client.batch_execute(&format!("ALTER TABLE {table} SET (autovacuum_enabled = off)")).await.unwrap();
        }
        write(&client, 20_000).await;
        client.batch_execute(&format!("PREPARE reading (text) AS {}", CHANGES.text)).await.unwrap();
        let explain = "EXPLAIN EXECUTE reading ('10:20:11')";
        let plan: String = client.query(explain, &[]).await.unwrap()[0].get(0);
        let cost: f64 = plan.split("..").nth(1).and_then(|rest| rest.split(' ').next()).unwrap().parse().unwrap();
        // From a cost of 100,000 on it would be: some hundred milliseconds, every time.
        assert!(cost < 20_000.0, "{cost}: {plan}");
    });
}

#[test]
fn what_is_old_is_swept_however_long_a_transaction_stays_open() {
    on_one_thread(async {
        let place = Place::make().await;
        let client = connect(&place.url).await;
        let (idle, late) = (connect(&place.url).await, connect(&place.url).await);
        idle.batch_execute("BEGIN; SELECT pg_current_xact_id()").await.unwrap();
        late.batch_execute(&format!("BEGIN; {ROW}")).await.unwrap();
        let mut feed = Feed::begun(&place).await;
        let (mut sweep, mut now) = (ChangeSweep::default(), Instant::now());
        write(&client, 10).await;
        assert_eq!(sweep.run_at(&feed.database, now).await.unwrap(), 0, "it only looks");
        write(&client, 5).await;
        assert_eq!(sweep.run_at(&feed.database, now + KEPT / 2).await.unwrap(), 0);
        now += KEPT;
        assert_eq!(sweep.run_at(&feed.database, now).await.unwrap(), 10, "what was there at the first look");
        assert_eq!(rows(&client).await, 5);
        late.batch_execute("COMMIT").await.unwrap();
        assert_eq!(feed.read().await.0, 6, "a late one is there for who has not read it");
        assert_eq!(sweep.run_at(&feed.database, now + KEPT / 2).await.unwrap(), 5);
        now += KEPT * 2;
        assert_eq!(sweep.run_at(&feed.database, now).await.unwrap(), 1, "the late one in its turn");
        write(&client, 3).await;
        // Another node has swept nothing yet: after its first look, whatever is old is its as well.
        let mut other = ChangeSweep::default();
        other.run_at(&feed.database, now).await.unwrap();
        assert_eq!(other.run_at(&feed.database, now + KEPT).await.unwrap(), 3);
        assert_eq!((rows(&client).await, sweep.run_at(&feed.database, now + KEPT).await.unwrap()), (0, 0));
    });
}
