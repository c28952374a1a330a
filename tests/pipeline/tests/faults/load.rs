//! Many callers at one row.

use std::time::Instant;

use forge::prelude::*;
use serde_json::json;

use crate::lasting;
use crate::support::http::{Connection, Request};
use crate::support::process::Process;
use crate::support::server::{connect, empty_database};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_callers_increment_one_row() -> Result<()> {
    let database = empty_database().await?;
    let process = Process::start(database.url()).await.ready().await;
    let until = Instant::now() + lasting(5, 60);
    let callers: Vec<_> = (0..16)
        .map(|_| {
            let url = process.url().to_owned();
            tokio::spawn(async move {
                let mut connection = Connection::open(&url).await.unwrap();
                // Reads, then writes what it has read plus one: lost updates would show.
                let request = Request::call("increment", &json!({"name": "hot"}));
                let mut done = 0;
                while Instant::now() < until {
                    let answer = connection.send(&request).await.unwrap();
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    done += 1;
                }
                done
            })
        })
        .collect();
    let mut done: i64 = 0;
    for caller in callers {
        done += caller.await.unwrap();
    }
    let sql = connect(database.url()).await;
    let value: i64 = sql.query_one("SELECT value FROM counters WHERE name = 'hot'", &[]).await.unwrap().get(0);
    println!("{done} increments");
    assert_eq!(value, done);
    assert!(done > 100, "{done} increments prove little");
    process.kill().await;
    database.remove().await
}
