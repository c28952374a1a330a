//! Tables change while the app serves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use forge::prelude::*;
use serde_json::json;

use crate::lasting;
use crate::support::http::{Connection, Request};
use crate::support::process::Process;
use crate::support::server::{connect, empty_database};
use crate::support::token;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changed_tables_disturb_no_caller() -> Result<()> {
    let database = empty_database().await?;
    let process = Process::start(database.url()).await.ready().await;
    change_tables_under(&process, database.url()).await;
    process.kill().await;
    database.remove().await
}

/// Changes tables of a database while a process serves.
pub(crate) async fn change_tables_under(process: &Process, database: &str) {
    let sql = connect(database).await;
    let batch = forge::new_uuid();
    let ada = token::of("ada", &[]);
    let add = Request::call("add_note", &json!({"batch": batch, "title": "one", "extra": null})).bearer(&ada);
    assert_eq!(add.send(process.url()).await.status, 200);
    let stop = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..8)
        .map(|n| {
            let (url, stop, ada) = (process.url().to_owned(), stop.clone(), ada.clone());
            tokio::spawn(async move {
                let requests = [
                    Request::call("list_notes", &json!({"batch": batch})).bearer(&ada),
                    Request::call("list_notes_sql", &json!({"batch": batch, "moods": ["calm"]})).bearer(&ada),
                    Request::call("counter", &json!({"name": "c0"})),
                    Request::call("notes_twice", &json!({"batch": batch})),
                    Request::call("count_and_read", &json!({"name": format!("r{n}"), "batch": batch})),
                    Request::call("increment", &json!({"name": format!("c{n}")})),
                    Request::call("bump", &json!({"name": format!("b{n}")}))
                        .header("x-forge-mutation-id", format!("m-{n}")),
                ];
                let mut connection = Connection::open(&url).await.unwrap();
                let mut calls = 0;
                while !stop.load(Ordering::Relaxed) {
                    for request in &requests {
                        let answer = connection.send(request).await.unwrap();
                        assert_eq!(answer.status, 200, "{request:?}: {}", answer.text());
                        calls += 1;
                    }
                }
                calls
            })
        })
        .collect();
    let until = Instant::now() + lasting(3, 30);
    let mut changes = 0;
    while Instant::now() < until {
        let text = format!(
            "ALTER TABLE notes ADD COLUMN extra_{changes} int DEFAULT {changes};
             ALTER TABLE counters ADD COLUMN extra_{changes} text;
             ALTER TABLE notes ALTER COLUMN position SET DEFAULT {changes};
             ALTER TABLE notes DROP COLUMN extra_{changes};
             ALTER TABLE counters DROP COLUMN extra_{changes}"
        );
        for statement in text.split(';') {
            sql.batch_execute(statement).await.unwrap();
        }
        // A type that the app does not expect may only be there within a transaction.
        let text =
            "ALTER TABLE notes ALTER COLUMN position TYPE bigint; ALTER TABLE notes ALTER COLUMN position TYPE integer";
        sql.batch_execute(text).await.unwrap();
        changes += 1;
    }
    stop.store(true, Ordering::Relaxed);
    let mut calls = 0;
    for caller in callers {
        calls += caller.await.unwrap_or_else(|why| panic!("{why}\n{}", process.log()));
    }
    println!("{calls} calls beside {changes} rounds of changes");
    assert!(calls > 100 && changes > 5, "{calls} calls beside {changes} rounds prove little");
}
