//! What is not committed: whatever was done in it, whoever did it, and however it ended, nobody is shown anything of it.

use forge::prelude::*;
use serde_json::{Value, json};

use crate::is_long;
use crate::support::balancer::Balancer;
use crate::support::live::Live;
use crate::support::process::Process;
use crate::support::server::{Server, connect};

fn number(value: &Value) -> i64 {
    value.as_str().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_committed_is_never_shown() -> Result<()> {
    let mut server = Server::new().await?;
    let prepare = "ALTER SYSTEM SET max_prepared_transactions = 10";
    connect(server.url()).await.batch_execute(prepare).await.unwrap();
    server.stop().await?;
    server.start().await?;
    let nodes = [Process::start(server.url()).await.ready().await, Process::start(server.url()).await.ready().await];
    let balancer = Balancer::before(&[nodes[0].url(), nodes[1].url()]).await;
    let sql = connect(server.url()).await;
    // A COMMIT that changes the bar fails, when everything else has been done.
    sql.batch_execute(
        "INSERT INTO counters VALUES ('a', 0), ('bank', 0), ('bar', 0);
         CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE check_violation; END';
         CREATE CONSTRAINT TRIGGER refuse AFTER UPDATE ON counters DEFERRABLE INITIALLY DEFERRED
         FOR EACH ROW WHEN (NEW.name = 'bar') EXECUTE FUNCTION refuse()",
    )
    .await
    .unwrap();
    let mut watchers = Vec::new();
    for _ in 0..2 {
        let mut live = Live::open(balancer.url(), None).await;
        live.subscribe(1, "counter", json!({"name": "a"})).await;
        watchers.push((live, -1));
    }
    let mut caller = Calling { live: Live::open(balancer.url(), None).await, shown: 0 };
    assert_eq!(caller.live.subscribed(1, "counter", json!({"name": "a"})).await, "0");
    // What is to be seen is even and grows, what is not is odd.
    let set = |n: i64| format!("UPDATE counters SET value = {n} WHERE name = 'a'");
    let rounds = if is_long() { 2_000 } else { 200 };
    for n in 1..=rounds {
        let (yes, no) = (set(2 * n), set(2 * n + 1));
        match n % 8 {
            0 => sql.batch_execute(&format!("BEGIN; {no}; ROLLBACK; {yes}")).await.unwrap(),
            1 => {
                let text = format!("BEGIN; {yes}; SAVEPOINT s; {no}; ROLLBACK TO SAVEPOINT s; COMMIT");
                sql.batch_execute(&text).await.unwrap();
            }
            2 => {
                sql.batch_execute(&format!("BEGIN; {no}; PREPARE TRANSACTION 'p'")).await.unwrap();
                sql.batch_execute("ROLLBACK PREPARED 'p'").await.unwrap();
                sql.batch_execute(&yes).await.unwrap();
            }
            3 => {
                sql.batch_execute(&format!("BEGIN; {yes}; PREPARE TRANSACTION 'p'")).await.unwrap();
                sql.batch_execute("COMMIT PREPARED 'p'").await.unwrap();
            }
            4 => {
                // It fails in the middle.
                assert!(sql.batch_execute(&format!("BEGIN; {no}; SELECT 1 / 0; COMMIT")).await.is_err());
                sql.batch_execute(&format!("ROLLBACK; {yes}")).await.unwrap();
            }
            5 => {
                // A mutation fails after it has written and told something.
                caller.fails(n, "announce", json!({"name": "a", "text": "no", "fails": true})).await;
                caller.succeeds(n, json!({"from": "bank", "to": "a", "amount": "2"})).await;
            }
            6 => {
                // Its COMMIT fails.
                caller.fails(n, "transfer", json!({"from": "bar", "to": "a", "amount": "1"})).await;
                caller.succeeds(n, json!({"from": "bank", "to": "a", "amount": "2"})).await;
            }
            _ => {
                // The writer dies with its transaction open.
                let dying = connect(server.url()).await;
                dying.batch_execute(&format!("BEGIN; {no}")).await.unwrap();
                drop(dying);
                sql.batch_execute(&yes).await.unwrap();
            }
        }
        if n % 10 == 0 {
            for (live, shown) in &mut watchers {
                while *shown < 2 * n {
                    let value = number(&live.next().await["results"][0]["data"]);
                    assert!(value % 2 == 0 && value > *shown, "{value} after {shown}");
                    *shown = value;
                }
            }
        }
    }
    Ok(())
}

/// A client whose mutations fail and succeed, and who is shown only what has succeeded.
struct Calling {
    live: Live,
    shown: i64,
}

impl Calling {
    async fn call(&mut self, id: i64, function: &str, args: Value, mutation: String) {
        let call = json!({"type": "call", "id": id, "function": function, "args": args, "mutationId": mutation});
        self.live.send(call).await;
    }

    async fn fails(&mut self, n: i64, function: &str, args: Value) {
        self.call(n, function, args, format!("no-{n}")).await;
        loop {
            let message = self.next().await;
            if message["type"] == "reply" {
                assert!(message.get("error").is_some(), "{message}");
                break;
            }
        }
    }

    async fn succeeds(&mut self, n: i64, args: Value) {
        self.call(n, "transfer", args, format!("yes-{n}")).await;
        let (mut replied, mut acknowledged) = (false, false);
        while !replied || !acknowledged {
            let message = self.next().await;
            if message["type"] == "reply" {
                assert!(message.get("error").is_none(), "{message}");
                replied = true;
            }
            if let Some(acks) = message.get("acks") {
                assert_eq!((acks, self.shown), (&json!([format!("yes-{n}")]), 2 * n), "{message}");
                acknowledged = true;
            }
        }
    }

    /// The next message, in which there is nothing of what was not committed.
    async fn next(&mut self) -> Value {
        let message = self.live.next().await;
        assert_ne!(message["type"], "event", "{message}");
        assert!(!message["acks"].to_string().contains("no-"), "{message}");
        if let Some(result) = message["results"].get(0) {
            let value = number(&result["data"]);
            assert!(value % 2 == 0 && value > self.shown, "{value} after {}", self.shown);
            self.shown = value;
        }
        message
    }
}
