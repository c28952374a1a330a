//! How often queries run: for every change that concerns them, and for no other.

use forge::prelude::*;
use forge::testing::TestApp;
use rand::RngExt as _;
use serde_json::{Value, json};

use crate::support::http::Request;
use crate::support::live::{Live, applied};
use crate::support::{token, until};

async fn metric(url: &str, name: &str) -> u64 {
    let text = Request::get("/metrics").send(url).await.text();
    let line = text.lines().find(|line| line.split(' ').next() == Some(name)).unwrap_or_else(|| panic!("{name} in {text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[forge::test]
async fn a_keyed_query_runs_for_its_own_rows_and_for_no_others(app: TestApp) -> Result<()> {
    const BATCHES: usize = 8;
    const WRITES: u64 = 400;
    let (sql, url, ada) = (app.sql().await?, app.url(), token::of("ada", &[]));
    let batches: Vec<Uuid> = (0..BATCHES).map(|_| forge::new_uuid()).collect();
    let fill = "INSERT INTO notes (id, batch, title, position) SELECT gen_random_uuid(), $1, $1::text || n, n FROM generate_series(0, 9) n";
    for batch in &batches {
        sql.execute(fill, &[batch]).await.unwrap();
    }
    // Half of the batches are watched, by the builder and by SQL; of the other half nobody wants to know.
    let mut live = Live::open(&url, Some(&ada)).await;
    let mut known: Vec<[Value; 2]> = Vec::new();
    for (n, batch) in batches.iter().take(BATCHES / 2).enumerate() {
        let id = n as u64 * 2;
        let built = live.subscribed(id, "list_notes", json!({"batch": batch})).await;
        let by_sql = json!({"batch": batch, "moods": ["calm", "very_busy"]});
        known.push([built, live.subscribed(id + 1, "list_notes_sql", by_sql).await]);
    }
    let names = ["live_runs_total", "live_runs_unchanged_total", "live_changes_total"];
    let before = [metric(&url, names[0]).await, metric(&url, names[1]).await, metric(&url, names[2]).await];
    let mut concerning = 0;
    for n in 0..WRITES {
        let (batch, position) = (rand::rng().random_range(0..BATCHES), rand::rng().random_range(0..10_i32));
        let text = "UPDATE notes SET title = $3 WHERE batch = $1 AND position = $2";
        let title = format!("{n} of {batch}");
        assert_eq!(sql.execute(text, &[&batches[batch], &position, &title]).await.unwrap(), 1);
        let Some(known) = known.get_mut(batch) else { continue };
        concerning += 1;
        // Each is awaited, so that none is told together with the next.
        let mut waiting = 2;
        while waiting > 0 {
            for result in live.next().await["results"].as_array().unwrap() {
                let id = usize::try_from(result["id"].as_u64().unwrap()).unwrap();
                assert_eq!(id / 2, batch, "told of a batch that was not written to");
                known[id % 2] = applied(&known[id % 2], result);
                waiting -= 1;
            }
        }
        let told = &known[0].as_array().unwrap()[usize::try_from(position).unwrap()];
        assert_eq!((&told["title"], &known[0]), (&json!(title), &known[1]));
    }
    until("all changes have been looked at", async || metric(&url, names[2]).await == before[2] + WRITES).await;
    let (runs, unchanged) = (metric(&url, names[0]).await - before[0], metric(&url, names[1]).await - before[1]);
    println!("{WRITES} writes, {concerning} of them to what is watched: {runs} runs, {unchanged} of them for nothing");
    // One run of either query for each write that concerns it; none for the others, and none for nothing.
    assert_eq!((runs, unchanged), (2 * concerning, 0));
    Ok(())
}

#[forge::test]
async fn a_row_that_moves_runs_the_queries_on_both_sides_and_no_others(app: TestApp) -> Result<()> {
    let (sql, url, ada) = (app.sql().await?, app.url(), token::of("ada", &[]));
    let batches: Vec<Uuid> = (0..3).map(|_| forge::new_uuid()).collect();
    let mut live = Live::open(&url, Some(&ada)).await;
    for (id, batch) in (0..).zip(&batches) {
        live.subscribed(id, "list_notes", json!({"batch": batch})).await;
    }
    let insert = "INSERT INTO notes (id, batch, title) VALUES (gen_random_uuid(), $1, 'wanders')";
    sql.execute(insert, &[&batches[0]]).await.unwrap();
    assert_eq!(live.next().await["results"][0]["id"], 0);
    let before = metric(&url, "live_runs_total").await;
    for (from, to) in [(0, 1), (1, 2), (2, 0)] {
        sql.execute("UPDATE notes SET batch = $1 WHERE title = 'wanders'", &[&batches[to]]).await.unwrap();
        let frame = live.next().await;
        let mut told: Vec<u64> =
            frame["results"].as_array().unwrap().iter().map(|result| result["id"].as_u64().unwrap()).collect();
        told.sort_unstable();
        let mut wanted = [from as u64, to as u64];
        wanted.sort_unstable();
        assert_eq!(told, wanted, "from {from} to {to}: {frame}");
    }
    assert_eq!(metric(&url, "live_runs_total").await - before, 6);
    // What keeps its values runs nothing.
    sql.execute("UPDATE notes SET title = title, position = position WHERE title = 'wanders'", &[]).await.unwrap();
    sql.execute("UPDATE notes SET position = 7 WHERE title = 'wanders'", &[]).await.unwrap();
    assert_eq!(live.next().await["results"][0]["id"], 0);
    assert_eq!(metric(&url, "live_runs_total").await - before, 7);
    Ok(())
}
