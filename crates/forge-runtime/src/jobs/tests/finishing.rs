//! That how a job ended is written down, whatever is in the way of that.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_postgres::Client;
use uuid::Uuid;

use super::super::claims::Claims;
use super::super::finish::{End, Ended, Finisher};
use super::super::{JobRegistry, Jobs};
use crate::cluster::Cluster;
use crate::config::JobsConfig;
use crate::observability;
use crate::realtime::differential::{Place, on_one_thread};

/// Makes a statement on jobs of a kind fail so often, as if it were for something that passes.
const TROUBLE: &str = "
    CREATE SEQUENCE troubles;
    CREATE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF OLD.kind = TG_ARGV[0] AND nextval('troubles') <= 2 THEN
            RAISE EXCEPTION 'no space left on device' USING ERRCODE = '53100';
        END IF;
        RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
    END
    $$;
    CREATE TRIGGER trouble BEFORE UPDATE OR DELETE ON forge_jobs FOR EACH ROW EXECUTE FUNCTION trouble('troubled')";

/// A worker that has some jobs.
struct Running {
    place: Place,
    jobs: Jobs,
    claims: Claims,
    worker: Uuid,
    ended: Vec<Ended>,
}

impl Running {
    async fn new() -> Self {
        crate::install_crypto();
        let place = Place::make().await;
        let jobs = Jobs::new(JobRegistry::default(), &JobsConfig::default(), place.database.jobs().clone(), Cluster::new());
        Self { place, jobs, claims: Claims::default(), worker: Uuid::from_u128(7), ended: Vec::new() }
    }

    /// It has one of a kind, which ends so. Returns its id.
    async fn end(&mut self, kind: &'static str, end: End) -> Uuid {
        let id = Uuid::from_u128(1 + self.ended.len() as u128);
        let text = "INSERT INTO forge_jobs (id, kind, queue, state, worker, claims, attempt, claimed_at) VALUES ($1, $2, 'q', 2, $3, 4, 1, now())";
        self.sql().execute(text, &[&id, &kind, &self.worker]).await.unwrap();
        self.claims.add([(id, 4)]);
        self.ended.push(Ended { id, kind, worker: self.worker, claim: 4, concurrency_key: None, end });
        id
    }

    fn sql(&self) -> &Client {
        &self.place.client
    }

    /// All of it is written down.
    async fn finish(&mut self) {
        let (sender, ended) = mpsc::channel(100);
        for one in self.ended.drain(..) {
            sender.send(one).await.unwrap();
        }
        drop(sender);
        let finishing = Finisher { jobs: self.jobs.clone(), ended, claims: self.claims.clone() }.run();
        tokio::time::timeout(Duration::from_secs(60), finishing).await.expect("it goes on for ever");
    }

    /// Where a job is, its attempt, its output and its error.
    async fn found(&self, id: Uuid) -> (String, i32, Value, Value) {
        let text = "SELECT 'state ' || state, attempt, NULL, error::text FROM forge_jobs WHERE id = $1
                    UNION ALL SELECT 'dead', attempt, NULL, error::text FROM forge_jobs_dead WHERE id = $1
                    UNION ALL SELECT status, attempt, output::text, error::text FROM forge_jobs_done WHERE id = $1";
        let row = self.sql().query_one(text, &[&id]).await.unwrap();
        let json = |at| row.get::<_, Option<&str>>(at).map_or(Value::Null, |text| serde_json::from_str(text).unwrap());
        (row.get(0), row.get(1), json(2), json(3))
    }
}

fn completed(output: impl Into<String>) -> End {
    End::Completed { output: Ok(output.into()), keep: true }
}

fn again(error: impl Into<String>) -> End {
    End::Again { delay: Duration::from_secs(60), error: Some(error.into()), unspent: false }
}

fn over(error: impl Into<String>) -> End {
    End::Over { error: error.into(), retain: Some(Duration::from_secs(60)) }
}

/// JSON that nobody can store: it is nested too deep.
fn too_deep() -> String {
    format!("{{\"code\":\"TOO_DEEP\",\"details\":{}{}}}", "[".repeat(300), "]".repeat(300))
}

#[test]
fn what_is_in_the_way_for_a_while_is_waited_for() {
    on_one_thread(async {
        let mut running = Running::new().await;
        running.sql().batch_execute(TROUBLE).await.unwrap();
        let id = running.end("troubled", completed("7")).await;
        running.finish().await;
        assert_eq!(running.found(id).await, ("completed".into(), 1, json!(7), Value::Null));
        running.place.remove().await;
    });
}

#[test]
fn a_server_that_only_reads_for_a_while_is_waited_for() {
    on_one_thread(async {
        let mut running = Running::new().await;
        let id = running.end("job", completed("7")).await;
        let name: String = running.sql().query_one("SELECT quote_ident(current_database())", &[]).await.unwrap().get(0);
        let read_only = format!("ALTER DATABASE {name} SET default_transaction_read_only");
        // Its sessions are as they were made, also when it is told otherwise.
        running.jobs.pool().clear();
        running.sql().batch_execute(&format!("{read_only} = on")).await.unwrap();
        drop(running.jobs.pool().get().await.unwrap());
        running.sql().batch_execute(&format!("{read_only} = off")).await.unwrap();
        running.finish().await;
        assert_eq!(running.found(id).await.0, "completed");
        running.place.remove().await;
    });
}

#[test]
fn what_is_written_already_is_not_written_again_because_something_else_was_not() {
    on_one_thread(async {
        let fenced = || {
            let text = observability::render().unwrap();
            text.lines().find_map(|line| line.strip_prefix("jobs_fenced_total ")?.parse::<u64>().ok()).unwrap()
        };
        let mut running = Running::new().await;
        running.sql().batch_execute(TROUBLE).await.unwrap();
        let done = running.end("job", completed("7")).await;
        let later = running.end("troubled", again("{\"code\":\"E\"}")).await;
        let dead = running.end("job", over("{\"code\":\"E\"}")).await;
        running.finish().await;
        let stands = [running.found(done).await.0, running.found(later).await.0, running.found(dead).await.0];
        assert_eq!(stands, ["completed", "state 1", "dead"]);
        assert_eq!(fenced(), 0, "nobody has taken anything from this worker");
        assert!(running.claims.all().is_empty());
        // Whereas this is nobody's any more.
        let lost = running.end("job", completed("7")).await;
        running.sql().execute("UPDATE forge_jobs SET claims = 5 WHERE id = $1", &[&lost]).await.unwrap();
        running.finish().await;
        assert_eq!(fenced(), 1);
        running.place.remove().await;
    });
}

#[test]
fn how_a_job_ended_stands_also_when_what_it_says_cannot_be_stored() {
    on_one_thread(async {
        let mut running = Running::new().await;
        let mut good = Vec::new();
        for n in 0..5 {
            good.push(running.end("job", completed(n.to_string())).await);
        }
        let (output, error, last) = (
            running.end("job", completed(too_deep())).await,
            running.end("job", again(too_deep())).await,
            running.end("job", over(too_deep())).await,
        );
        let large = running.end("job", completed(format!("\"{}\"", "x".repeat(65 * 1024 * 1024)))).await;
        running.finish().await;
        for (n, id) in good.into_iter().enumerate() {
            assert_eq!(running.found(id).await, ("completed".into(), 1, json!(n), Value::Null));
        }
        let (stands, _, none, why) = running.found(output).await;
        assert_eq!((stands.as_str(), none), ("completed", Value::Null));
        assert!(why["message"].as_str().unwrap().contains("could not be stored"), "{why}");
        let (stands, _, none, why) = running.found(large).await;
        assert_eq!((stands.as_str(), none, why["code"].as_str()), ("completed", Value::Null, Some("PAYLOAD_TOO_LARGE")));
        for (id, right) in [(error, "state 1"), (last, "dead")] {
            let (stands, attempt, _, why) = running.found(id).await;
            assert_eq!((stands.as_str(), attempt), (right, 1), "{why}");
            assert!(why["message"].as_str().unwrap().contains("could not be stored"), "{why}");
        }
        running.place.remove().await;
    });
}

#[test]
fn a_nul_in_what_a_job_says_changes_nothing_about_how_it_ended() {
    on_one_thread(async {
        let mut running = Running::new().await;
        let output = running.end("job", completed("{\"text\":\"a\\u0000b\"}")).await;
        let why = forge_core::Error::app("NUL", 409, "a\0b").with_details(json!({ "what\0": "a\0b" }));
        let error = running.end("job", again(super::super::run::error_json(&why))).await;
        running.finish().await;
        assert_eq!(running.found(output).await, ("completed".into(), 1, json!({ "text": "a\u{fffd}b" }), Value::Null));
        let right = json!({ "code": "NUL", "message": "a\u{fffd}b", "details": { "what\u{fffd}": "a\u{fffd}b" } });
        assert_eq!(running.found(error).await, ("state 1".into(), 1, Value::Null, right));
        running.place.remove().await;
    });
}

#[test]
fn what_a_job_says_of_its_progress_is_not_lost_while_it_cannot_be_written() {
    on_one_thread(async {
        let mut running = Running::new().await;
        running.sql().batch_execute(TROUBLE).await.unwrap();
        let ids = [running.end("troubled", completed("1")).await, running.end("job", completed("2")).await];
        let jobs = ids.map(|id| super::super::context::Running::new(id, running.worker, (1, 4), "q"));
        let say = |n: usize, percent, message: &str| {
            jobs[n].say(percent, message);
            running.jobs.progressed(&jobs[n]);
        };
        say(0, 10, "a");
        say(1, 50, "b\0");
        assert!(running.jobs.write_progress().await.is_err());
        say(0, 20, &"é".repeat(2000));
        assert!(running.jobs.write_progress().await.is_err());
        running.jobs.write_progress().await.unwrap();
        let text = "SELECT progress, progress_message FROM forge_jobs ORDER BY id";
        let rows = running.sql().query(text, &[]).await.unwrap();
        let said: Vec<(Option<i16>, Option<String>)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        assert_eq!(said, [(Some(20), Some("é".repeat(512))), (Some(50), Some("b\u{fffd}".into()))]);
        running.place.remove().await;
    });
}
