//! One process that works off what waits: a claimer and a finisher on connections of their own, handlers between them.
//!
//! What a worker remembers of each lane is where it stands and whether anything was left there: an empty lane is not asked again
//! before a sweep.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use tokio::sync::{Semaphore, mpsc};
use tokio_postgres::types::{Json, ToSql};
use tokio_postgres::{Client, Row, Statement};
use uuid::Uuid;

use crate::layout::Layout;
use layouts::Result;
use layouts::database::connect;

pub(crate) const WORKER: Uuid = Uuid::from_u128(0x0000_0000_0000_7000_8000_0000_0000_000a);
const HANDLERS: usize = 24;
const BY_INDEX: &str = "SET enable_seqscan = off";
/// The most that is finished by one statement.
const FINISH: usize = 1000;

#[derive(Debug, Clone)]
pub(crate) struct Lane {
    pub(crate) kind: String,
    pub(crate) priority: i16,
    since: Timestamp,
    dry: bool,
}

/// What a worker remembers.
#[derive(Debug, Clone)]
pub(crate) struct Lanes(Vec<Lane>);

impl Lanes {
    pub(crate) fn of(kinds: usize) -> Self {
        Self(
            (0..kinds)
                .map(|n| Lane { kind: format!("kind_{n}"), priority: 50, since: Timestamp::UNIX_EPOCH, dry: false })
                .collect(),
        )
    }

    /// Looks from the beginning of every lane again.
    pub(crate) fn sweep(&mut self) {
        for lane in &mut self.0 {
            (lane.since, lane.dry) = (Timestamp::UNIX_EPOCH, false);
        }
    }

    /// There is something new; the lanes stand where they stood.
    pub(crate) fn wake(&mut self) {
        self.0.iter_mut().for_each(|lane| lane.dry = false);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finish {
    Keep,
    Delete,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Worker {
    pub(crate) batch: i32,
    pub(crate) finish: Finish,
    /// Whether a claim waits for the disk. When the server crashes, one that did not is lost, and the job runs once more.
    pub(crate) claims_wait: bool,
    /// Statements are planned while the tables are empty, which nobody tells the planner they are no longer.
    pub(crate) planned_empty: bool,
    /// The sessions may not read whole tables where there is an index.
    pub(crate) by_index: bool,
}

impl Worker {
    pub(crate) const DEFAULT: Self =
        Self { batch: 500, finish: Finish::Keep, claims_wait: true, planned_empty: false, by_index: false };
}

pub(crate) struct Claimer {
    client: Client,
    before: Option<Statement>,
    claim: Statement,
}

impl Claimer {
    pub(crate) async fn new(url: &str, layout: &Layout, worker: Worker) -> Result<Self> {
        let client = connect(url).await?;
        if !worker.claims_wait {
            client.batch_execute("SET synchronous_commit = off").await?;
        }
        if worker.by_index {
            client.batch_execute(BY_INDEX).await?;
        }
        let before = match layout.before_claim {
            Some(text) => Some(client.prepare(text).await?),
            None => None,
        };
        let claim = client.prepare(&layout.claim).await?;
        Ok(Self { client, before, claim })
    }

    /// The next batch of whatever waits in lanes that are not known to be dry.
    pub(crate) async fn next(&self, lanes: &mut Lanes, batch: i32) -> Result<Vec<Row>> {
        let asked: Vec<&mut Lane> = lanes.0.iter_mut().filter(|lane| !lane.dry).take(usize::try_from(batch)?).collect();
        if asked.is_empty() {
            return Ok(Vec::new());
        }
        let share = batch / i32::try_from(asked.len())?;
        let kinds: Vec<&str> = asked.iter().map(|lane| lane.kind.as_str()).collect();
        let priorities: Vec<i16> = asked.iter().map(|lane| lane.priority).collect();
        let since: Vec<Timestamp> = asked.iter().map(|lane| lane.since).collect();
        let most = vec![share; asked.len()];
        let arguments: [&(dyn ToSql + Sync); 5] = [&kinds, &priorities, &since, &most, &WORKER];
        let rows = match &self.before {
            None => self.client.query(&self.claim, &arguments).await?,
            Some(before) => {
                let (_, _, rows, _) = tokio::try_join!(
                    self.client.batch_execute("BEGIN"),
                    self.client.query(before, &arguments[..2]),
                    self.client.query(&self.claim, &arguments),
                    self.client.batch_execute("COMMIT")
                )?;
                rows
            }
        };
        let mut found: HashMap<(&str, i16), (i32, Timestamp)> = HashMap::new();
        for row in &rows {
            let (count, last) = found.entry((row.get("kind"), row.get("priority"))).or_insert((0, Timestamp::UNIX_EPOCH));
            *count += 1;
            *last = row.get::<_, Timestamp>("ready_at").max(*last);
        }
        for lane in asked {
            let (count, last) =
                found.get(&(lane.kind.as_str(), lane.priority)).copied().unwrap_or((0, Timestamp::UNIX_EPOCH));
            lane.dry = count < share;
            lane.since = last.max(lane.since);
        }
        Ok(rows)
    }
}

#[derive(serde::Deserialize)]
struct Input {
    n: u64,
}

/// A process with its two connections.
pub(crate) struct Process<'a> {
    layout: &'a Layout,
    worker: Worker,
    claimer: Claimer,
    finisher: Client,
    finish: Statement,
}

impl<'a> Process<'a> {
    pub(crate) async fn new(url: &str, layout: &'a Layout, worker: Worker) -> Result<Self> {
        let claimer = Claimer::new(url, layout, worker).await?;
        let finisher = connect(url).await?;
        if worker.by_index {
            finisher.batch_execute(BY_INDEX).await?;
        }
        let finish = finisher.prepare(if worker.finish == Finish::Keep { &layout.keep } else { &layout.delete }).await?;
        let process = Self { layout, worker, claimer, finisher, finish };
        if worker.planned_empty {
            for _ in 0..10 {
                process.claimer.next(&mut Lanes::of(1), worker.batch).await?;
                process.end(&[]).await?;
            }
        }
        Ok(process)
    }

    /// How long a look at every lane from its beginning takes, in milliseconds, when nothing is there.
    pub(crate) async fn sweep(&self, lanes: &mut Lanes) -> Result<f64> {
        lanes.sweep();
        let start = Instant::now();
        match self.claimer.next(lanes, self.worker.batch).await?.len() {
            0 => Ok(start.elapsed().as_secs_f64() * 1e3),
            some => Err(format!("{}: {some} jobs were left behind", self.layout.name).into()),
        }
    }

    async fn end(&self, ids: &[Uuid]) -> Result<usize> {
        // Every tenth says something.
        let outputs = Json(ids.iter().step_by(10).map(|id| (id.to_string(), "done")).collect::<HashMap<_, _>>());
        let kept: [&(dyn ToSql + Sync); 3] = [&ids, &WORKER, &outputs];
        let arguments = if self.worker.finish == Finish::Keep { &kept[..] } else { &kept[..2] };
        Ok(self.finisher.query(&self.finish, arguments).await?.len())
    }
}

/// Works off `jobs` jobs. Returns how many a second, from the start until the last one's end is durable.
pub(crate) async fn drain(process: &Process<'_>, lanes: &mut Lanes, jobs: usize) -> Result<f64> {
    let Process { layout, worker, claimer, .. } = process;
    let start = Instant::now();
    // Two batches wait at most.
    let (claimed, mut to_handle) = mpsc::channel::<Vec<Row>>(2);
    let (ended, mut to_finish) = mpsc::unbounded_channel::<Uuid>();
    let claiming = async {
        let mut left = jobs;
        while left > 0 {
            let rows = claimer.next(lanes, worker.batch).await?;
            if rows.is_empty() {
                lanes.sweep();
            }
            left = left.saturating_sub(rows.len());
            claimed.send(rows).await?;
        }
        drop(claimed);
        Result::Ok(())
    };
    let handling = async {
        let permits = Arc::new(Semaphore::new(HANDLERS));
        while let Some(rows) = to_handle.recv().await {
            for row in rows {
                let permit = Arc::clone(&permits).acquire_owned().await?;
                let ended = ended.clone();
                tokio::spawn(async move {
                    let input: Json<Input> = row.get("input");
                    if input.0.n > 0 {
                        // The receiver is there until all have ended.
                        let _ = ended.send(row.get("id"));
                    }
                    drop(permit);
                });
            }
        }
        drop(ended);
        Result::Ok(())
    };
    let finishing = async {
        let (mut left, mut ids) = (jobs, Vec::new());
        while left > 0 && to_finish.recv_many(&mut ids, FINISH).await > 0 {
            let done = process.end(&ids).await?;
            if done != ids.len() {
                return Err(format!("{}: of {} jobs {done} were finished", layout.name, ids.len()).into());
            }
            left = left.saturating_sub(done);
            ids.clear();
        }
        if left > 0 { Err(format!("{}: {left} jobs were never handed out", layout.name).into()) } else { Result::Ok(()) }
    };
    tokio::try_join!(claiming, handling, finishing)?;
    #[allow(clippy::cast_precision_loss)]
    Ok(jobs as f64 / start.elapsed().as_secs_f64())
}

/// So many jobs of so many kinds, written and settled.
pub(crate) async fn fill(client: &Client, layout: &Layout, jobs: usize, kinds: usize) -> Result<()> {
    client.execute(&layout.fill, &[&i64::try_from(jobs)?, &i64::try_from(kinds)?]).await?;
    client.batch_execute("VACUUM ANALYZE").await?;
    client.batch_execute("CHECKPOINT").await?;
    Ok(())
}
