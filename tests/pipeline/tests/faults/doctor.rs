//! What the app's own `doctor` says of a server.

use forge::prelude::*;

use crate::support::process::Process;
use crate::support::server::{Server, connect};

/// What the app's own `doctor` says of a database: exit code, report, messages.
async fn doctor(database: &str, capture: &str) -> (Option<i32>, String, String) {
    let dir = tempfile::tempdir().unwrap();
    let run = tokio::process::Command::new(env!("CARGO_BIN_EXE_pipeline"))
        .arg("doctor")
        .current_dir(dir.path())
        .env("FORGE_ENV", "test")
        .env("DATABASE_URL", database)
        .env("FORGE_REACTIVITY_CAPTURE", capture)
        .output();
    let output = run.await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_doctor_says_what_is_used_and_what_is_in_the_way() -> Result<()> {
    let server = Server::new().await?;
    let (code, report, words) = doctor(server.url(), "auto").await;
    assert_eq!(code, Some(1), "{report}{words}");
    assert!(words.contains("DOCTOR_FOUND") && words.contains("not migrated"), "{words}");
    Process::start(server.url()).await.ready().await.kill().await;
    let (code, report, words) = doctor(server.url(), "auto").await;
    assert_eq!(code, Some(0), "{report}{words}");
    for line in [
        "changes are written to  wal (every node can read the log)",
        "this node would use     wal: this node can read the log",
        "ok      wal_level                logical",
        "ok      max_replication_slots    20, of which 0 are in use",
        "ok      replication              a connection can be made",
        "note    max_slot_wal_keep_size   unlimited",
    ] {
        assert!(report.contains(line), "{line} in\n{report}");
    }
    // Somebody who may not replicate, and slots of somebody's that nobody reads.
    let sql = connect(server.url()).await;
    sql.batch_execute("CREATE ROLE plain LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO plain").await.unwrap();
    let fill = "SELECT pg_create_logical_replication_slot('theirs_' || n, 'pgoutput') FROM generate_series(1, 20) n";
    sql.batch_execute(fill).await.unwrap();
    let (code, report, _) = doctor(server.url(), "auto").await;
    assert_eq!(code, Some(0), "{report}");
    assert!(report.contains("this node would use     changelog"), "{report}");
    assert!(report.contains("no wal  max_replication_slots    20, of which 20 are in use"), "{report}");
    assert!(report.contains("note    abandoned slots          20"), "{report}");
    sql.batch_execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots").await.unwrap();
    let plain = server.url().replace("user=forge", "user=plain");
    let (code, report, words) = doctor(&plain, "wal").await;
    assert_eq!(code, Some(1), "{report}");
    assert!(report.contains("ALTER ROLE .. REPLICATION"), "{report}");
    assert!(words.contains("DOCTOR_FOUND") && words.contains("replication"), "{words}");
    let (code, report, words) = doctor(&plain, "auto").await;
    assert_eq!(code, Some(0), "{report}{words}");
    assert!(report.contains("this node would use     changelog"), "{report}");
    server.stop().await?;
    let (code, _, words) = doctor(server.url(), "auto").await;
    assert_eq!(code, Some(1));
    assert!(words.contains("DATABASE_UNAVAILABLE"), "{words}");
    Ok(())
}
