//! A private server through its life: start, join, crash, restart, refusal, end. These tests run a real PostgreSQL.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails, also outside of test functions")]

mod project;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use forge_pg::{Options, PrivateServer, Search};
use project::{Removed, closed_folder, connect, eventually, in_another_process, open_folder, runs, try_connect};
use rustix::process::{Pid, Signal, kill_process};

fn kill(pid: u32) {
    kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL).unwrap();
}

async fn setting(server: &PrivateServer, name: &str) -> String {
    let client = connect(&server.url("postgres")).await;
    client.query_one("SELECT current_setting($1)", &[&name]).await.unwrap().get(0)
}

#[tokio::test]
async fn a_second_call_joins_the_server_that_the_first_started() {
    let project = open_folder();
    let server = Removed::ensure(Options::dev(project.path())).await;
    server.create_database_if_missing("my app").await.unwrap();
    server.create_database_if_missing("my app").await.unwrap();
    connect(&server.url("my app")).await.batch_execute("CREATE TABLE t (a int)").await.unwrap();

    let second = PrivateServer::ensure(Options::dev(project.path())).await.unwrap();
    assert_eq!((second.pid(), second.version()), (server.pid(), server.version()));
    let client = connect(&second.url("my app")).await;
    client.query("SELECT * FROM t", &[]).await.unwrap();

    assert_eq!(setting(&server, "wal_level").await, "logical");
    assert_eq!(setting(&server, "listen_addresses").await, "");
    assert_eq!(setting(&server, "fsync").await, "on");
    assert_eq!(setting(&server, "server_encoding").await, "UTF8");
    assert!(server.data_folder().starts_with(fs::canonicalize(project.path()).unwrap().join(".forge/pg")));
}

#[tokio::test]
async fn a_server_is_found_only_while_it_runs() {
    let project = open_folder();
    let found = async || PrivateServer::running(project.path()).await.unwrap();
    assert!(found().await.is_none() && !project.path().join(".forge").exists(), "asking makes nothing");
    let server = Removed::ensure(Options::dev(project.path())).await;
    let running = found().await.unwrap();
    assert_eq!((running.pid(), running.version()), (server.pid(), server.version()));
    assert_eq!(running.data_folder(), server.data_folder());
    connect(&running.url("postgres")).await;
    running.stop().await.unwrap();
    assert!(found().await.is_none() && !runs(server.pid()));
    // One that ended without a word leaves a file behind that still names it.
    let server = PrivateServer::ensure(Options::dev(project.path())).await.unwrap();
    kill(server.pid());
    eventually("its end", async || !runs(server.pid())).await;
    assert!(server.data_folder().join("postmaster.pid").exists() && found().await.is_none());
    // A server for tests is another one.
    let _test = Removed::ensure(Options::test(project.path())).await;
    assert!(found().await.is_none());
}

#[tokio::test]
async fn the_server_runs_without_rights_and_only_its_owner_reaches_the_socket() {
    let project = open_folder();
    let server = Removed::ensure(Options::dev(project.path())).await;
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    let uid: u32 = line("Uid:").split_whitespace().next().unwrap().parse().unwrap();
    assert_ne!(uid, 0);
    assert_eq!(fs::metadata(server.data_folder()).unwrap().uid(), uid);
    if rustix::process::geteuid().is_root() {
        assert_eq!(line("Groups:"), "", "supplementary groups of root were kept");
    }
    // The group stands third behind the name. Ctrl-C in a terminal reaches only the group in the foreground.
    let stat = fs::read_to_string(format!("/proc/{}/stat", server.pid())).unwrap();
    let group = stat.rsplit(") ").next().unwrap().split(' ').nth(2).unwrap();
    assert_eq!(group, server.pid().to_string());
    let socket = setting(&server, "unix_socket_directories").await;
    let folder = fs::metadata(socket.trim_matches('"')).unwrap();
    assert_eq!((folder.mode() & 0o777, folder.uid()), (0o700, uid));
}

#[tokio::test]
async fn data_survives_the_violent_end_of_the_server() {
    let project = open_folder();
    let server = Removed::ensure(Options::dev(project.path())).await;
    let client = connect(&server.url("postgres")).await;
    client.batch_execute("CREATE TABLE t (a int); INSERT INTO t VALUES (42)").await.unwrap();
    // A session that computes does not notice the end of the server; no other may begin before it has ended.
    let busy = connect(&server.url("postgres")).await;
    tokio::spawn(async move { busy.batch_execute("SELECT count(*) FROM generate_series(1, 15000000)").await });
    let sql = "SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%generate_series(1, %'
               AND pid <> pg_backend_pid()";
    eventually("the long statement", async || !client.query(sql, &[]).await.unwrap().is_empty()).await;
    kill(server.pid());

    let again = PrivateServer::ensure(Options::dev(project.path())).await.unwrap();
    assert_ne!(again.pid(), server.pid());
    let row = connect(&again.url("postgres")).await.query_one("SELECT a FROM t", &[]).await.unwrap();
    assert_eq!(row.get::<_, i32>(0), 42);
}

#[tokio::test]
async fn a_pid_file_that_names_another_program_does_not_stop_the_start() {
    let project = open_folder();
    let server = Removed::ensure(Options::dev(project.path())).await;
    let file = server.data_folder().join("postmaster.pid");
    let text = fs::read_to_string(&file).unwrap();
    let owner = fs::metadata(server.data_folder()).unwrap();
    server.stop().await.unwrap();
    // PostgreSQL looks only at programs of its own user.
    let mut other = Command::new("sleep").arg("600").uid(owner.uid()).gid(owner.gid()).spawn().unwrap();
    fs::write(&file, text.replacen(&server.pid().to_string(), &other.id().to_string(), 1)).unwrap();

    let again = PrivateServer::ensure(Options::dev(project.path())).await;
    other.kill().unwrap();
    other.wait().unwrap();
    let again = again.unwrap();
    connect(&again.url("postgres")).await;
}

#[tokio::test]
async fn processes_and_tasks_that_race_get_one_server() {
    let project = open_folder();
    let others: Vec<_> = (0..3).map(|_| in_another_process("racer", project.path())).collect();
    let racing: Vec<_> =
        (0..3).map(|_| tokio::spawn(PrivateServer::ensure(Options::dev(project.path()).obtain(false)))).collect();
    let mut servers = Vec::new();
    for racer in racing {
        servers.push(Removed(racer.await.unwrap().unwrap()));
    }
    let mut pids: Vec<String> = servers.iter().map(|server| server.pid().to_string()).collect();
    for other in others {
        pids.extend(project::answers(&other.join().unwrap(), "server pid"));
    }
    assert_eq!(pids.len(), 6);
    assert!(pids.iter().all(|pid| *pid == pids[0]), "{pids:?}");
}

/// The other side of the race above.
#[tokio::test]
async fn racer() {
    let Some(project) = project::project_of_this_process() else {
        return;
    };
    let server = PrivateServer::ensure(Options::dev(project).obtain(false)).await.unwrap();
    println!("server pid {}", server.pid());
}

#[tokio::test]
async fn a_project_with_a_long_path_has_a_server_and_a_long_socket_folder_is_refused() {
    let root = open_folder();
    let project = root.path().join("a".repeat(100)).join("b".repeat(100));
    fs::create_dir_all(&project).unwrap();
    let server = Removed::ensure(Options::dev(&project)).await;
    connect(&server.url("postgres")).await;
    server.stop().await.unwrap();
    let long = Options::dev(&project).socket_folder(project.join("socket"));
    assert_eq!(PrivateServer::ensure(long).await.unwrap_err().code(), "PG_PATH_TOO_LONG");
}

#[tokio::test]
async fn a_socket_folder_can_be_named() {
    let (project, sockets) = (open_folder(), open_folder());
    let server = Removed::ensure(Options::dev(project.path()).socket_folder(sockets.path().join("of, \"this\" one"))).await;
    connect(&server.url("postgres")).await;
    assert!(server.url("x").contains("of%2C%20%22this%22%20one"), "{}", server.url("x"));
    // Whoever joins does not have to know.
    let joined = PrivateServer::ensure(Options::dev(project.path())).await.unwrap();
    assert_eq!(joined.url("x"), server.url("x"));
}

#[tokio::test]
async fn data_of_a_version_that_is_not_installed_is_kept_and_explained() {
    let project = open_folder();
    let server = Removed::ensure(Options::dev(project.path())).await;
    server.stop().await.unwrap();
    let file = server.data_folder().join("PG_VERSION");
    let right = fs::read_to_string(&file).unwrap();
    fs::write(&file, "9\n").unwrap();
    let error = PrivateServer::ensure(Options::dev(project.path())).await.unwrap_err();
    assert_eq!(error.code(), "PG_WRONG_MAJOR");
    assert!(error.message().contains("pg_dumpall") && error.message().contains("PostgreSQL 9"), "{error}");
    fs::write(&file, right).unwrap();
    let again = PrivateServer::ensure(Options::dev(project.path())).await.unwrap();
    connect(&again.url("postgres")).await;
}

#[tokio::test]
async fn tcp_needs_the_password_and_a_free_port() {
    let project = open_folder();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let options = || Options::dev(project.path()).obtain(false).tcp_port(port);
    let error = PrivateServer::ensure(options()).await.unwrap_err();
    assert_eq!(error.code(), "PG_PORT_IN_USE");
    assert!(error.message().contains(&port.to_string()), "{error}");
    drop(taken);

    let server = Removed::ensure(options()).await;
    let url = server.tcp_url("postgres").unwrap();
    connect(&url).await;
    let open = format!("postgresql://forge@127.0.0.1:{port}/postgres");
    assert!(try_connect(&open).await.is_err(), "TCP was open without a password");
    let wrong = format!("postgresql://forge:wrong@127.0.0.1:{port}/postgres");
    assert!(try_connect(&wrong).await.is_err(), "TCP was open with a wrong password");
    let password = fs::metadata(project.path().join(".forge/pg/password")).unwrap();
    assert_eq!(password.mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_server_with_other_settings_is_restarted_and_one_with_more_is_joined() {
    let project = open_folder();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let first = Removed::ensure(Options::dev(project.path())).await;
    assert_eq!(first.tcp_url("postgres"), None);
    let with_port = PrivateServer::ensure(Options::dev(project.path()).tcp_port(port)).await.unwrap();
    assert_ne!(with_port.pid(), first.pid());
    let without = PrivateServer::ensure(Options::dev(project.path())).await.unwrap();
    assert_eq!(without.pid(), with_port.pid());
    connect(&without.url("postgres")).await;
}

#[tokio::test]
async fn a_server_that_lost_its_socket_is_restarted() {
    let project = open_folder();
    let server = Removed::ensure(Options::dev(project.path())).await;
    let folder = setting(&server, "unix_socket_directories").await;
    fs::remove_file(format!("{}/.s.PGSQL.5432", folder.trim_matches('"'))).unwrap();
    let again = PrivateServer::ensure(Options::dev(project.path())).await.unwrap();
    connect(&again.url("postgres")).await;
}

#[tokio::test]
async fn a_server_whose_folder_was_deleted_is_replaced() {
    let project = open_folder();
    let server = Removed::ensure(Options::dev(project.path())).await;
    let old = server.pid();
    fs::remove_dir_all(project.path().join(".forge")).unwrap();
    let again = PrivateServer::ensure(Options::dev(project.path())).await.unwrap();
    assert!(!runs(old));
    connect(&again.url("postgres")).await;
}

#[tokio::test]
async fn a_project_that_the_server_cannot_enter_has_its_data_elsewhere_and_a_note_says_where() {
    let home = closed_folder();
    let project = home.path().join("project");
    fs::create_dir(&project).unwrap();
    for options in [Options::dev(&project), Options::test(&project)] {
        let server = Removed::ensure(options).await;
        connect(&server.url("postgres")).await;
        let data = server.data_folder();
        let state = server.log_file().parent().unwrap().to_owned();
        assert!(state.starts_with(fs::canonicalize(&project).unwrap()));
        let note = fs::read_to_string(state.join("location.json")).unwrap();
        assert!(note.contains(&data.display().to_string()), "{note}");
        if rustix::process::geteuid().is_root() {
            assert!(!data.starts_with(home.path()), "{}", data.display());
        }
        server.remove().await.unwrap();
        assert!(!data.exists());
    }
}

#[tokio::test]
async fn servers_for_development_and_tests_live_side_by_side() {
    let project = open_folder();
    let dev = Removed::ensure(Options::dev(project.path())).await;
    let test = Removed::ensure(Options::test(project.path())).await;
    assert_ne!(dev.pid(), test.pid());
    assert_eq!((setting(&dev, "fsync").await, setting(&test, "fsync").await), ("on".to_owned(), "off".to_owned()));
    assert_eq!(setting(&test, "max_connections").await, "500");
    assert_eq!(setting(&test, "autovacuum").await, "on");
}

#[tokio::test]
async fn an_unused_test_server_ends_with_its_data_and_the_next_call_starts_another() {
    let project = open_folder();
    let options = || Options::test(project.path()).idle(Duration::from_secs(2));
    let first = PrivateServer::ensure(options()).await.unwrap();
    let (pid, data) = (first.pid(), first.data_folder());
    let watchdog: u32 = fs::read_to_string(data.parent().unwrap().join("watchdog.pid")).unwrap().parse().unwrap();
    drop(first);
    eventually("the end of the unused server", async || !runs(pid) && !data.exists()).await;
    eventually("the end of its watchdog", async || !runs(watchdog)).await;
    let again = Removed::ensure(options()).await;
    connect(&again.url("postgres")).await;
}

#[tokio::test]
async fn a_call_during_the_retirement_of_a_server_gets_a_new_one() {
    let project = open_folder();
    let options = || Options::test(project.path());
    let first = Removed::ensure(options()).await;
    let home = first.data_folder().parent().unwrap().to_owned();
    // As the watchdog does, which then is ended in the middle.
    fs::rename(&home, home.with_file_name(format!("gone-{}", first.pid()))).unwrap();
    kill_process(Pid::from_raw(first.pid().cast_signed()).unwrap(), Signal::QUIT).unwrap();
    let second = PrivateServer::ensure(options()).await.unwrap();
    assert_ne!(second.pid(), first.pid());
    connect(&second.url("postgres")).await;
    let left = fs::read_dir(home.parent().unwrap()).unwrap().count();
    assert_eq!(left, 1, "the retired data was not removed");
}

#[tokio::test]
async fn a_test_server_in_use_stays_and_its_watchdog_ends_with_it() {
    let project = open_folder();
    let server = Removed::ensure(Options::test(project.path()).idle(Duration::from_secs(2))).await;
    let home = server.data_folder().parent().unwrap().to_owned();
    let used = || fs::metadata(home.join("last-used")).unwrap().modified().unwrap();
    let begin = used();
    eventually("being marked as used for longer than the idle time", async || {
        used().duration_since(begin).unwrap() > Duration::from_secs(3)
    })
    .await;
    connect(&server.url("postgres")).await;
    let watchdog: u32 = fs::read_to_string(home.join("watchdog.pid")).unwrap().parse().unwrap();
    assert!(runs(watchdog));
    server.stop().await.unwrap();
    eventually("the end of the watchdog", async || !runs(watchdog)).await;
}

#[tokio::test]
async fn a_watchdog_that_was_ended_is_replaced_at_the_next_join() {
    let project = open_folder();
    let server = Removed::ensure(Options::test(project.path())).await;
    let file = server.data_folder().with_file_name("watchdog.pid");
    let watchdog = || fs::read_to_string(&file).unwrap().parse::<u32>().unwrap();
    let first = watchdog();
    PrivateServer::ensure(Options::test(project.path())).await.unwrap();
    assert_eq!(watchdog(), first);
    kill(first);
    eventually("the end of the watchdog", async || !runs(first)).await;
    PrivateServer::ensure(Options::test(project.path())).await.unwrap();
    assert_ne!(watchdog(), first);
}

#[tokio::test]
async fn an_interrupted_initdb_is_not_taken_for_data() {
    let project = open_folder();
    let state = project.path().join(".forge/pg");
    fs::create_dir_all(state.join("data.new-1")).unwrap();
    fs::write(state.join("data.new-1/PG_VERSION"), "15\n").unwrap();
    let server = Removed::ensure(Options::dev(project.path())).await;
    connect(&server.url("postgres")).await;
    assert!(!state.join("data.new-1").exists());
}

#[tokio::test]
async fn a_full_disk_is_named_and_leaves_nothing_behind() {
    let project = open_folder();
    let programs = project::pretended("echo 'initdb: error: could not write: No space left on device' >&2; exit 1", "");
    let options = Options::dev(project.path()).search(Search::only([programs.path()]));
    let error = PrivateServer::ensure(options).await.unwrap_err();
    assert_eq!(error.code(), "PG_DISK_FULL");
    assert!(error.message().contains("No space left on device"), "{error}");
    let left = fs::read_dir(project.path().join(".forge/pg")).unwrap();
    assert!(left.flatten().all(|entry| !entry.file_name().to_string_lossy().starts_with("data")));
}

#[tokio::test]
async fn a_failed_initdb_is_shown_in_its_own_words() {
    let project = open_folder();
    let programs = project::pretended("echo 'initdb: error: something odd' >&2; exit 1", "");
    let options = Options::dev(project.path()).search(Search::only([programs.path()]));
    let error = PrivateServer::ensure(options).await.unwrap_err();
    assert_eq!(error.code(), "PG_INIT_FAILED");
    assert!(error.message().contains("something odd"), "{error}");
}

#[tokio::test]
async fn a_failed_start_shows_the_end_of_the_log() {
    let project = open_folder();
    let programs = project::pretended("echo 17 > \"$2/PG_VERSION\"", "echo 'FATAL:  no shared memory' >&2; exit 1");
    let options = Options::dev(project.path()).search(Search::only([programs.path()]));
    let error = PrivateServer::ensure(options).await.unwrap_err();
    assert_eq!(error.code(), "PG_START_FAILED");
    assert!(error.message().contains("no shared memory"), "{error}");
}

#[tokio::test]
async fn without_an_installation_and_without_leave_to_fetch_one_the_ways_out_are_listed() {
    let project = open_folder();
    let options = Options::dev(project.path()).search(Search::only(["/nowhere"])).obtain(false);
    let error = PrivateServer::ensure(options).await.unwrap_err();
    assert_eq!(error.code(), "PG_NOT_FOUND");
    for part in ["/nowhere", "FORGE_PG_BIN", "DATABASE_URL"] {
        assert!(error.message().contains(part), "{error}");
    }
}
