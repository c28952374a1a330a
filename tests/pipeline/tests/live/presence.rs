//! Who looks at the same: seen by whoever may look there, on any node, until they leave.

use forge::prelude::*;
use forge::testing::TestApp;
use serde_json::{Value, json};

use crate::support::http::Request;
use crate::support::live::{Live, applied};
use crate::support::process::Process;
use crate::support::server::{connect, empty_database};
use crate::support::{count, token, until};

/// A client that is subscribed to a counter under 1, and to who is present there under 2.
struct Visitor {
    live: Live,
    list: Value,
}

impl Visitor {
    async fn at(url: &str, token: Option<&str>, state: Value) -> Self {
        let mut live = Live::open(url, token).await;
        live.subscribed(1, "counter", json!({"name": "a"})).await;
        live.send(json!({"type": "presence", "id": 2, "of": 1, "state": state})).await;
        Self { live, list: Value::Null }
    }

    /// Reads frames until the states of those present are these.
    async fn sees(&mut self, states: &[Value]) {
        while !self.is_told(states) {
            let frame = self.live.next().await;
            assert_eq!(frame["type"], "frame", "{frame}");
            for result in frame["results"].as_array().unwrap().iter().filter(|result| result["id"] == 2) {
                self.list = applied(&self.list, result);
            }
        }
    }

    fn is_told(&self, states: &[Value]) -> bool {
        self.list.as_array().is_some_and(|list| list.iter().map(|one| &one["state"]).eq(states))
    }
}

async fn runs(url: &str) -> String {
    let text = Request::get("/metrics").send(url).await.text();
    text.lines().find(|line| line.starts_with("live_runs_total")).unwrap().to_owned()
}

#[forge::test]
async fn those_who_are_present_see_each_other_until_they_leave(app: TestApp) -> Result<()> {
    let (sql, url) = (app.sql().await?, app.url());
    let mut ada = Visitor::at(&url, Some(&token::of("ada", &[])), json!({"at": 1})).await;
    ada.sees(&[json!({"at": 1})]).await;
    let me = ada.list[0].clone();
    assert_eq!(me["userId"], "ada");
    assert!(me["since"].as_str().unwrap().parse::<Timestamp>().is_ok());
    let mut bob = Visitor::at(&url, None, json!("bob")).await;
    bob.sees(&[json!({"at": 1}), json!("bob")]).await;
    ada.sees(&[json!({"at": 1}), json!("bob")]).await;
    assert_eq!((&ada.list[0]["id"], &ada.list[1]["userId"]), (&me["id"], &Value::Null));
    // Another state is no other member; to watch only is to leave the list.
    ada.live.send(json!({"type": "presence", "id": 2, "of": 1, "state": {"at": 2}})).await;
    bob.sees(&[json!({"at": 2}), json!("bob")]).await;
    assert_eq!((&bob.list[0]["id"], &bob.list[0]["since"]), (&me["id"], &me["since"]));
    ada.live.send(json!({"type": "presence", "id": 2, "of": 1, "state": null})).await;
    bob.sees(&[json!("bob")]).await;
    ada.live.send(json!({"type": "presence", "id": 2, "of": 1, "state": 3})).await;
    bob.sees(&[json!("bob"), json!(3)]).await;
    // The end of either number, and of the connection.
    ada.live.send(json!({"type": "unsubscribe", "id": 2})).await;
    bob.sees(&[json!("bob")]).await;
    ada.live.send(json!({"type": "presence", "id": 4, "of": 1, "state": 4})).await;
    bob.sees(&[json!("bob"), json!(4)]).await;
    ada.live.send(json!({"type": "unsubscribe", "id": 1})).await;
    bob.sees(&[json!("bob")]).await;
    let eve = Visitor::at(&url, None, json!("eve")).await;
    bob.sees(&[json!("bob"), json!("eve")]).await;
    eve.live.cut();
    bob.sees(&[json!("bob")]).await;
    drop(bob);
    until("nobody is there", async || count(&sql, "SELECT count(*) FROM forge_presence").await == 0).await;
    Ok(())
}

#[forge::test]
async fn one_is_present_where_one_may_look_and_nowhere_else(app: TestApp) -> Result<()> {
    let (sql, url) = (app.sql().await?, app.url());
    sql.batch_execute("INSERT INTO counters VALUES ('r ada', 1), ('r bob', 1)").await.unwrap();
    let (mut ada, mut bob) =
        (Live::open(&url, Some(&token::of("ada", &[]))).await, Live::open(&url, Some(&token::of("bob", &[]))).await);
    let mut eve = Live::open(&url, Some(&token::of("eve", &[]))).await;
    // At what was never subscribed to, at itself, and at another list.
    for (id, of) in [(2, 9), (2, 2)] {
        eve.send(json!({"type": "presence", "id": id, "of": of, "state": 1})).await;
        let refused = eve.next().await;
        assert_eq!((&refused["id"], &refused["code"]), (&json!(2), &json!("INVALID_ARGUMENT")), "{refused}");
    }
    // With a query that refuses her, whichever is first.
    eve.send(json!({"type": "subscribe", "id": 1, "function": "room", "args": {"name": "r"}})).await;
    eve.send(json!({"type": "presence", "id": 2, "of": 1, "state": "eve"})).await;
    let refused = [eve.next().await, eve.next().await];
    for (id, message) in [1, 2].iter().zip(&refused) {
        assert_eq!((&message["type"], &message["id"]), (&json!("error"), &json!(id)), "{message}");
    }
    assert_eq!(refused[0]["code"], "FORBIDDEN");
    assert!(["FORBIDDEN", "INVALID_ARGUMENT"].contains(&refused[1]["code"].as_str().unwrap()), "{}", refused[1]);
    for (live, name) in [(&mut ada, "ada"), (&mut bob, "bob")] {
        live.subscribed(1, "room", json!({"name": "r"})).await;
        live.send(json!({"type": "presence", "id": 2, "of": 1, "state": name})).await;
    }
    let mut list = Value::Null;
    while list.as_array().is_none_or(|list| list.len() < 2) {
        list = applied(&list, &ada.next().await["results"][0]);
    }
    // Who came at the same moment stands in any order.
    let mut states: Vec<&str> = list.as_array().unwrap().iter().map(|one| one["state"].as_str().unwrap()).collect();
    states.sort_unstable();
    assert_eq!(states, ["ada", "bob"], "and never eve");
    // Who is shown the door leaves both, with one reason.
    let shown = async |bob: &mut Live| loop {
        let message = bob.next().await;
        if message["type"] == "error" {
            return message;
        }
    };
    sql.execute("DELETE FROM counters WHERE name = 'r bob'", &[]).await.unwrap();
    let mut ends = [shown(&mut bob).await, shown(&mut bob).await];
    ends.sort_by_key(|end| end["id"].as_u64());
    for (id, end) in [1, 2].iter().zip(&ends) {
        assert_eq!((&end["id"], &end["code"]), (&json!(id), &json!("FORBIDDEN")), "{end}");
    }
    while list.as_array().unwrap().len() != 1 {
        list = applied(&list, &ada.next().await["results"][0]);
    }
    assert_eq!(list[0]["userId"], "ada");
    assert!(bob.is_silent_for(std::time::Duration::from_millis(150)).await);
    Ok(())
}

#[forge::test]
async fn a_state_has_a_limit_and_what_is_not_permitted_leaves_no_trace(app: TestApp) -> Result<()> {
    let mut visitor = Visitor::at(&app.url(), None, json!("x".repeat(1_022))).await;
    visitor.sees(&[json!("x".repeat(1_022))]).await;
    visitor.live.send(json!({"type": "presence", "id": 2, "of": 1, "state": "x".repeat(1_023)})).await;
    let refused = visitor.live.next().await;
    assert_eq!((&refused["id"], &refused["code"]), (&json!(2), &json!("PAYLOAD_TOO_LARGE")));
    assert!(refused["message"].as_str().unwrap().contains("1024"));
    let mut nobody = Live::open(&app.url(), None).await;
    nobody.send(json!({"type": "subscribe", "id": 1, "function": "room", "args": {"name": "r"}})).await;
    nobody.send(json!({"type": "presence", "id": 2, "of": 1, "state": 1})).await;
    assert_eq!((nobody.next().await["code"].clone(), nobody.next().await["id"].clone()), (json!("UNAUTHORIZED"), json!(2)));
    let sql = app.sql().await?;
    until("nobody is there", async || count(&sql, "SELECT count(*) FROM forge_presence").await == 0).await;
    // The list is a query of ours, which nobody can ask by name.
    nobody.subscribe(3, "forge:presence", json!("t")).await;
    assert_eq!(nobody.next().await["code"], "NOT_FOUND");
    Ok(())
}

#[forge::test]
async fn a_renewed_token_leaves_one_where_one_is(app: TestApp) -> Result<()> {
    let mut ada = Visitor::at(&app.url(), Some(&token::of("ada", &[])), json!(1)).await;
    ada.sees(&[json!(1)]).await;
    let before = ada.list[0].clone();
    ada.live.send(json!({"type": "auth", "token": token::of("ada", &["editor"])})).await;
    assert_eq!(ada.live.next().await["type"], "authenticated");
    ada.live.send(json!({"type": "presence", "id": 2, "of": 1, "state": 2})).await;
    ada.sees(&[json!(2)]).await;
    assert_eq!((&ada.list[0]["id"], &ada.list[0]["since"]), (&before["id"], &before["since"]));
    Ok(())
}

#[forge::test]
async fn showing_that_a_node_lives_runs_nobody_and_what_is_forgotten_comes_back(app: TestApp) -> Result<()> {
    let (sql, url) = (app.sql().await?, app.url());
    let mut visitor = Visitor::at(&url, None, json!(1)).await;
    visitor.sees(&[json!(1)]).await;
    let seen =
        async || sql.query_one("SELECT max(seen_at)::text FROM forge_live_nodes", &[]).await.unwrap().get::<_, String>(0);
    let (before, at) = (runs(&url).await, seen().await);
    until("the node has shown that it lives", async || seen().await != at).await;
    assert_eq!(runs(&url).await, before);
    // As after a crash of the server.
    sql.batch_execute("TRUNCATE forge_live_nodes CASCADE").await.unwrap();
    visitor.sees(&[]).await;
    visitor.sees(&[json!(1)]).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn presence_crosses_nodes_and_the_dead_are_swept_away() -> Result<()> {
    let database = empty_database().await?;
    let sql = connect(database.url()).await;
    let one = Process::start(database.url()).await.ready().await;
    let other = Process::start(database.url()).await.ready().await;
    let mut ada = Visitor::at(one.url(), None, json!("ada")).await;
    ada.sees(&[json!("ada")]).await;
    let mut bob = Visitor::at(other.url(), None, json!("bob")).await;
    ada.sees(&[json!("ada"), json!("bob")]).await;
    bob.sees(&[json!("ada"), json!("bob")]).await;
    other.kill().await;
    // Its rows stay until it has not been seen for a while; the clock of that is the database's.
    let age = "UPDATE forge_live_nodes SET seen_at = seen_at - interval '1 minute'
               WHERE node IN (SELECT node FROM forge_presence WHERE state = '\"bob\"')";
    assert_eq!(sql.execute(age, &[]).await.unwrap(), 1);
    ada.sees(&[json!("ada")]).await;
    Ok(())
}
