//! The commands that operate an app that runs, with a real app, its doors and its database.

// A panic in a test is its report.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::process::Stdio;
use std::time::Duration;

use forge::prelude::*;
use forge::testing::TestApp;
use serde_json::Value;
use support::{Said, folder, terminal};

/// What lets the commands in.
const TOKEN: &str = "an-admin-token-for-tests";

/// Fails for good.
#[forge::job(queue = "mail", retry(max_attempts = 1))]
pub async fn send_letter(_ctx: &JobContext, to: String) -> Result<()> {
    Err(Error::app("NO_SUCH_ADDRESS", 404, format!("nobody is called {to}")))
}

/// Dispatches some.
#[forge::mutation(public)]
pub async fn send_letters(ctx: &MutationContext, count: u32) -> Result<()> {
    let letters = (0..count).map(|n| SendLetter { to: format!("nobody{n}") }).collect();
    ctx.dispatch_jobs(letters).await.map(drop)
}

/// Every day.
#[forge::cron("0 9 * * *")]
pub async fn daily(_ctx: &CronContext) -> Result<()> {
    Ok(())
}

async fn start() -> TestApp {
    let started = TestApp::start_with(|config| {
        config.admin.token = Some(TOKEN.into());
        config.cluster.heartbeat_interval = Duration::from_millis(200);
    });
    started.await.unwrap()
}

/// Runs the command with these words and variables, in a folder of its own and without a terminal.
async fn said(words: &[&str], env: &[(&str, &str)]) -> Said {
    let place = folder();
    let mut command = support::forge(place.path());
    command.args(words).envs(env.iter().copied()).stdin(Stdio::null());
    tokio::task::spawn_blocking(move || {
        let _place = place;
        command.output().expect("the command runs").into()
    })
    .await
    .unwrap()
}

/// Runs it on an app, on which it must succeed.
async fn fine(app: &TestApp, words: &[&str]) -> Said {
    let said = said(words, &[("FORGE_ADMIN_URL", &app.url()), ("FORGE_ADMIN_TOKEN", TOKEN)]).await;
    assert_eq!(said.code, Some(0), "forge {words:?}\n{}{}", said.out, said.err);
    said
}

/// The columns of a table's lines.
fn columns(out: &str) -> Vec<Vec<&str>> {
    out.lines().map(|line| line.split("  ").map(str::trim).filter(|part| !part.is_empty()).collect()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_seen_counted_and_retried() {
    let app = start().await;
    app.anonymous().call(send_letters, 3).await.unwrap();
    app.run_jobs().await.unwrap();
    let list = fine(&app, &["jobs", "list", "--status", "dead_letter", "--since", "1h"]).await;
    let lines = columns(&list.out);
    assert_eq!(lines[0], ["ID", "KIND", "QUEUE", "STATUS", "ATTEMPT", "DISPATCHED", "ERROR"]);
    assert_eq!(lines.len(), 4, "{}", list.out);
    assert_eq!(lines[1][1..5], ["send_letter", "mail", "dead_letter", "1/1"]);
    assert_eq!(lines[1][6], "NO_SUCH_ADDRESS");
    let id = lines[1][0];
    let whole = fine(&app, &["jobs", "show", id]).await.out;
    assert!(whole.contains(r#"{"to":"nobody2"}"#) && whole.contains("nobody is called nobody2"), "{whole}");
    let json = fine(&app, &["jobs", "list", "--limit", "2", "--json"]).await;
    let page: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(page["jobs"].as_array().unwrap().len(), 2);
    let next = page["next"].as_str().unwrap();
    assert!(json.err.contains(&format!("there are more: --before {next}")), "{}", json.err);
    let rest = fine(&app, &["jobs", "list", "--before", next]).await.out;
    assert_eq!(columns(&rest).len(), 2, "{rest}");

    let env = [("FORGE_ADMIN_URL", app.url()), ("FORGE_ADMIN_TOKEN", TOKEN.to_owned())];
    let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let unasked = said(&["jobs", "retry", "--kind", "send_letter"], &env).await;
    assert_eq!((unasked.code, unasked.out.as_str()), (Some(1), ""));
    assert!(
        unasked.err.contains("3 jobs are meant") && unasked.err.contains("error[ADMIN_NOT_CONFIRMED]"),
        "{}",
        unasked.err
    );
    let unclear = said(&["jobs", "retry", "--yes"], &env).await;
    assert!(unclear.code == Some(1) && unclear.err.contains("or say --all"), "{}", unclear.err);
    assert_eq!(fine(&app, &["jobs", "list", "--status", "pending"]).await.out, "no jobs\n", "nothing was done");

    let retried = fine(&app, &["jobs", "retry", "--kind", "send_letter", "--code", "NO_SUCH_ADDRESS", "--yes"]).await;
    assert_eq!(retried.out, "3\n");
    assert_eq!(fine(&app, &["jobs", "cancel", id, "--reason", "no use"]).await.out, format!("{id} cancelled\n"));
    let refused = said(&["jobs", "retry", id], &env).await;
    assert!(refused.code == Some(1) && refused.err.contains("error[CONFLICT]"), "{}", refused.err);
    let audit = fine(&app, &["audit"]).await.out;
    let lines = columns(&audit);
    assert_eq!(lines.len(), 3, "{audit}");
    assert_eq!(lines[1][1..5], ["token", "jobs.cancel", id, "1"]);
    assert_eq!((lines[2][2], lines[2][4]), ("jobs.retry", "3"), "{audit}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sits_at_a_terminal_is_asked_and_only_a_yes_is_one() {
    let app = start().await;
    app.anonymous().call(send_letters, 3).await.unwrap();
    app.run_jobs().await.unwrap();
    let (url, words) = (app.url(), ["jobs", "retry", "--kind", "send_letter"]);
    let answered = async |answer: &'static [u8]| {
        let (place, url) = (folder(), url.clone());
        let mut command = support::forge(place.path());
        command.args(words).env("FORGE_ADMIN_URL", url).env("FORGE_ADMIN_TOKEN", TOKEN);
        tokio::task::spawn_blocking(move || terminal::answered(command, "[y/N] ", answer)).await.unwrap()
    };
    // No, nothing, the end of what is typed, and what is neither.
    for no in [b"n\n".as_slice(), b"\n", b"\x04", b"yep\n"] {
        let said = answered(no).await;
        assert!(said.err.contains("3 jobs are meant") && said.err.contains("retry them? [y/N]"), "{no:?}: {}", said.err);
        assert!(said.err.contains("nothing was done"), "{no:?}: {}", said.err);
        assert_eq!((said.code, said.out.as_str()), (Some(0), ""), "{no:?}: {}", said.err);
    }
    let left = fine(&app, &["jobs", "list", "--status", "dead_letter"]).await.out;
    assert_eq!(columns(&left).len(), 4, "{left}");
    let said = answered(b"y\n").await;
    assert_eq!((said.code, said.out.as_str()), (Some(0), "3\n"), "{}", said.err);
    assert!(!said.err.contains("nothing was done"), "{}", said.err);
    app.run_jobs().await.unwrap();
    assert_eq!(answered(b"YES\n").await.out, "3\n");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_crons_and_nodes_are_shown_and_told() {
    let app = start().await;
    app.anonymous().call(send_letters, 2).await.unwrap();
    assert_eq!(fine(&app, &["queues", "pause", "mail"]).await.out, "mail is paused\n");
    assert_eq!(fine(&app, &["queues", "pause", "mail"]).await.out, "mail is already paused\n");
    let queues = fine(&app, &["queues", "list"]).await.out;
    let mail = columns(&queues).into_iter().find(|line| line[0] == "mail").unwrap();
    assert_eq!((mail[1], *mail.last().unwrap()), ("2", "paused by token"), "{queues}");
    assert_eq!(fine(&app, &["queues", "resume", "mail"]).await.out, "mail is not paused\n");
    let env = [("FORGE_ADMIN_URL", app.url()), ("FORGE_ADMIN_TOKEN", TOKEN.to_owned())];
    let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let unknown = said(&["queues", "pause", "mial"], &env).await;
    assert!(unknown.code == Some(1) && unknown.err.contains("did you mean `mail`?"), "{}", unknown.err);
    assert_eq!(fine(&app, &["queues", "pause", "mial", "--force"]).await.out, "mial is paused\n");

    let next = fine(&app, &["cron", "next", "daily", "--count", "2"]).await.out;
    assert!(next.lines().count() == 2 && next.lines().all(|line| line.ends_with(" 09:00:00Z")), "{next}");
    let run = fine(&app, &["cron", "run", "daily", "--at", "2026-01-01T09:00:00Z"]).await.out;
    let again = fine(&app, &["cron", "trigger", "daily", "--at", "2026-01-01T09:00:00Z"]).await.out;
    assert_eq!(again, format!("{} (that time had its run already)\n", run.trim_end()));
    let history = fine(&app, &["cron", "history", "daily"]).await.out;
    assert_eq!(columns(&history)[1][..2], ["2026-01-01 09:00:00Z", "pending"], "{history}");
    assert_eq!(fine(&app, &["cron", "pause", "daily"]).await.out, "daily is paused\n");
    let crons = fine(&app, &["cron", "list"]).await.out;
    assert_eq!(columns(&crons)[1][..3], ["daily", "0 9 * * * UTC", "paused"], "{crons}");
    assert_eq!(fine(&app, &["cron", "resume", "daily"]).await.out, "daily is not paused\n");

    let status = fine(&app, &["cluster", "status"]).await.out;
    let node = columns(&status)[1].clone();
    // Whether a beat has told yet that it is at work is another matter.
    assert!(["joining", "active"].contains(&node[2]) && node[3] == "gateway,function,worker,scheduler", "{status}");
    let drain = fine(&app, &["cluster", "drain", node[0], "--dry-run"]).await;
    assert!(drain.out.starts_with(&format!("{} ({}) would drain\nit has 0 jobs and ", node[0], node[1])), "{}", drain.out);
    assert!(drain.err.contains("no other node is at work that is gateway,function,worker,scheduler"), "{}", drain.err);
    // By its host, as it is the only one there.
    let drain = fine(&app, &["cluster", "drain", node[1]]).await.out;
    assert!(drain.starts_with(&format!("{} ({}) drains\n", node[0], node[1])), "{drain}");
    assert!(fine(&app, &["cluster", "drain", node[0]]).await.out.contains(" drains already\n"));
    // Whoever runs the node is told.
    tokio::time::timeout(Duration::from_secs(60), app.parts().asked_to_drain()).await.unwrap();
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_said_with_what_to_do() {
    let app = start().await;
    let closed = TestApp::start().await.unwrap();
    let (url, closed_url) = (app.url(), closed.url());
    // A port that was free a moment ago.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let nobody = format!("http://{nobody}");
    for (address, token, code, hint) in [
        ("", TOKEN, "ADMIN_NOT_SAID", "--url"),
        (url.as_str(), "", "ADMIN_NOT_SAID", "FORGE_ADMIN_TOKEN"),
        ("ftp://x", TOKEN, "ADMIN_NOT_SAID", "https://"),
        (url.as_str(), "a-wrong-token", "UNAUTHORIZED", "FORGE_ADMIN_TOKEN"),
        (closed_url.as_str(), TOKEN, "ADMIN_CLOSED", "admin.token"),
        (nobody.as_str(), TOKEN, "ADMIN_UNREACHABLE", "does it run"),
        ("http://shop.example", TOKEN, "ADMIN_INSECURE", "--insecure"),
    ] {
        let said = said(&["cluster", "status", "--url", address], &[("FORGE_ADMIN_TOKEN", token)]).await;
        assert_eq!((said.code, said.out.as_str()), (Some(1), ""), "{address} {token}");
        assert!(said.err.contains(&format!("error[{code}]")) && said.err.contains(hint), "{code}: {}", said.err);
        assert!(token.is_empty() || !said.err.contains(token), "a token is told to nobody: {}", said.err);
    }
    // Where all users of the machine could read it, it cannot even be said.
    assert_eq!(said(&["cluster", "status", "--token", TOKEN], &[("FORGE_ADMIN_URL", &url)]).await.code, Some(2));
    app.stop().await;
    closed.stop().await;
}
