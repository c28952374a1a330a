//! A queue on a database, its workers, and the model beside it. A step is taken by both and compared.

mod around;
mod ends;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use forge_core::Error;
use forge_core::job::{Backoff, Concurrency, JobInfo, Priority, RetryPolicy};
use futures_util::FutureExt as _;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use uuid::Uuid;

use ends::{ended, info};

use super::super::admin::RETRY;
use super::super::claims::{Claim, Claims};
use super::super::context::Running;
use super::super::finish::{End as Written, Ended, Finisher, give_back};
use super::super::lanes::{LaneKind, Lanes};
use super::super::store::{
    self, Claimed, HELD, IDLE, LOOK, NewJob, PROMOTE, PROMOTE_MAX, RELEASE, RELEASE_LOCK, SAVE, TAKE_OVER, Way, get,
};
use super::super::wake::Wake;
use super::super::{JobRegistry, Jobs, dispatch, run, write};
use super::model::{CRASHES_MAX, End, Job, KINDS, Kind, Model, State};
use crate::cluster::Cluster;
use crate::config::JobsConfig;
use crate::db::{Answer, Params, Pool, Shape};
use crate::realtime::differential::{Dice, Place};

/// How many workers live at a time.
const WORKERS: usize = 3;

/// How many sorts of steps and ends are counted, so that it is seen that all happen.
pub(super) const COUNTED: usize = 30;

const HOUR: Duration = Duration::from_secs(3600);
const HOUR_US: i64 = 3_600_000_000;

/// All jobs, in the words of the model.
const ALL: &str = "
    SELECT id, format('%s %s p%s a%s c%s cancelled=%s saved=%s', CASE state WHEN 0 THEN 'ready' WHEN 1 THEN 'scheduled' WHEN 2 THEN 'running ' || worker
                      ELSE 'held' END, kind, priority, attempt, crashes, CASE WHEN cancel_requested THEN 'true' ELSE 'false' END, coalesce(saved::text, '-'))
    FROM forge_jobs
    UNION ALL SELECT id, format('dead %s p%s a%s c%s', kind, priority, attempt, crashes) FROM forge_jobs_dead
    UNION ALL SELECT id, format('%s %s p%s a%s c%s', status, kind, priority, attempt, crashes) FROM forge_jobs_done";

/// Why the two differ.
pub(super) type Outcome<T = ()> = Result<T, String>;

fn broken(why: impl std::fmt::Debug) -> String {
    format!("it failed: {why:?}")
}

/// A job that a worker has, and the number that the model gave its claim.
struct Held {
    job: Claimed,
    running: Arc<Running>,
    claim: u64,
}

struct Worker {
    id: Uuid,
    lanes: Lanes,
    /// A wake-up that it was to have was lost; it finds out with its next look.
    blind: bool,
    has: Vec<Held>,
}

/// See the module.
pub(super) struct World<'a> {
    place: &'a Place,
    pool: Pool,
    jobs: Jobs,
    dice: Dice,
    model: Model,
    workers: Vec<Worker>,
    /// What died, and may still believe that it has jobs.
    ghosts: Vec<Worker>,
    /// By which number each job was claimed last.
    claims: BTreeMap<Uuid, i32>,
    /// What was written down of ends: a worker that got no answer writes it again.
    written: Vec<Vec<Ended>>,
    pub(super) story: Vec<String>,
    pub(super) counts: BTreeMap<&'static str, usize>,
}

impl<'a> World<'a> {
    /// An empty queue with some workers.
    pub(super) async fn new(place: &'a Place, seed: u64) -> Self {
        let empty = "TRUNCATE forge_jobs, forge_jobs_done, forge_jobs_dead, forge_job_queues, forge_nodes";
        place.client.batch_execute(empty).await.unwrap();
        let pool = place.database.jobs().clone();
        let jobs = Jobs::new(JobRegistry::default(), &JobsConfig::default(), pool.clone(), Cluster::new());
        jobs.worked_here(KINDS.iter().map(|kind| kind.name));
        let mut world = Self {
            place,
            pool,
            jobs,
            dice: Dice::new(seed),
            model: Model::default(),
            workers: Vec::new(),
            ghosts: Vec::new(),
            claims: BTreeMap::new(),
            written: Vec::new(),
            story: Vec::new(),
            counts: BTreeMap::new(),
        };
        for _ in 0..WORKERS {
            world.join().await.unwrap();
        }
        world
    }

    fn id(&mut self) -> Uuid {
        let mut half = || u128::try_from(self.dice.below(usize::MAX)).unwrap_or(0);
        Uuid::from_u128((half() << 64) | half())
    }

    fn tell(&mut self, what: &'static str, about: String) {
        self.story.push(format!("{what}: {about}"));
        *self.counts.entry(what).or_default() += 1;
    }

    async fn ask(&self, shape: &Arc<Shape>, params: Params<'_>) -> Outcome<Answer> {
        self.pool.get().await.map_err(broken)?.query(shape, params).await.map_err(broken)
    }

    fn shift(&self) -> i64 {
        self.jobs.shift()
    }

    /// One step, and a look at everything after it.
    pub(super) async fn step(&mut self) -> Outcome {
        match self.dice.below(100) {
            0..=21 => self.enqueue().await?,
            22..=43 => self.claim().await?,
            44..=64 => self.end().await?,
            65..=68 => self.repeat().await?,
            69..=73 => self.cancel().await?,
            74..=76 => self.save().await?,
            77..=79 => self.pause().await?,
            80..=83 => self.crash().await?,
            84..=85 => self.haunt().await?,
            86..=89 => self.take_over().await?,
            90..=92 => self.travel().await?,
            93..=96 => self.retry().await?,
            _ => self.look_around().await?,
        }
        self.compare().await
    }

    async fn compare(&mut self) -> Outcome {
        let rows = self.place.client.query(ALL, &[]).await.map_err(broken)?;
        let there: BTreeMap<Uuid, String> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        let right = self.model.described();
        if there.len() != rows.len() {
            return Err("a job is in two places".to_owned());
        }
        let all: BTreeSet<&Uuid> = there.keys().chain(right.keys()).collect();
        for id in all {
            let (there, right) = (there.get(id), right.get(id));
            if there != right {
                return Err(format!("{id} is {there:?}, not {right:?}"));
            }
        }
        Ok(())
    }

    /// Whether a wake-up gets lost.
    fn is_lost(&mut self) -> bool {
        self.dice.chance(15)
    }

    /// Tells all workers, as memory and the bus do.
    async fn wake(&mut self, wakes: Vec<Wake>) -> Outcome {
        for wake in wakes {
            let lost = self.is_lost();
            match wake {
                Wake::Ready { kind, priority, at } => {
                    for worker in &mut self.workers {
                        worker.blind |= lost;
                        if !lost {
                            worker.lanes.wake(&kind, priority, at);
                        }
                    }
                }
                Wake::Held { kind, key } if !lost => self.release(&kind, &key).await?,
                Wake::Held { .. } | Wake::Due { .. } | Wake::Cancel { .. } | Wake::Queues | Wake::Look => {}
            }
        }
        Ok(())
    }

    async fn enqueue(&mut self) -> Outcome {
        let mut batch = Vec::new();
        let mut right = Vec::new();
        for _ in 0..1 + self.dice.below(4) {
            let kind = *self.dice.pick(&KINDS);
            let (id, priority) = (self.id(), self.dice.pick(&Priority::ALL).number());
            let delay = if self.dice.chance(25) { 1 + self.dice.below(4) as i64 } else { 0 };
            let unique = kind.unique.then(|| format!("u{}", self.dice.below(3)));
            let key = kind.limit.map(|_| format!("k{}", self.dice.below(2)));
            let job = Job {
                kind,
                priority,
                state: State::Ready,
                place: 0,
                attempt: 0,
                crashes: 0,
                claim: 0,
                unique: unique.clone(),
                key: key.clone(),
                cancelled: false,
                saved: None,
            };
            right.push((id, self.model.enqueue(id, job, delay), delay > 0));
            batch.push(NewJob {
                id,
                kind: kind.name,
                queue: kind.queue,
                priority,
                delay: HOUR * u32::try_from(delay).unwrap_or(0),
                at: None,
                input: "{}".into(),
                owner: None,
                trace: None,
                parent: None,
                unique_key: unique,
                concurrency_key: key,
            });
        }
        let about = batch.iter().map(|job| {
            let NewJob { id, kind, priority, delay, unique_key, concurrency_key, .. } = job;
            format!("{id} {kind} p{priority} +{}h {unique_key:?} {concurrency_key:?}", delay.as_secs() / 3600)
        });
        self.tell("enqueue", about.collect::<Vec<_>>().join(", "));
        let written = write::enqueue(Way::Alone(&self.pool), &batch, self.shift()).await.map_err(broken)?;
        for ((one, job), (id, is, delayed)) in written.iter().zip(&batch).zip(right) {
            let ready = !delayed && job.concurrency_key.is_none();
            let held = !delayed && job.concurrency_key.is_some();
            let said = (one.id, one.new, one.ready_at.is_some(), one.run_at.is_some(), one.held);
            let new = is == id;
            if !new {
                *self.counts.entry("enqueue: a key that is taken").or_default() += 1;
            }
            let right = (is, new, new && ready, new && delayed, new && held);
            if said != right {
                return Err(format!("what became of {id} is {said:?}, not {right:?}"));
            }
        }
        self.wake(dispatch::wakes(&batch, &written)).await
    }

    async fn claim(&mut self) -> Outcome {
        let (n, most) = (self.dice.below(self.workers.len()), 1 + self.dice.below(6));
        if self.workers[n].blind || self.dice.chance(10) {
            self.look(n).await?;
        }
        let worker = self.workers[n].id;
        let ready: BTreeMap<Uuid, Job> = self.model.ready().map(|(id, job)| (*id, job.clone())).collect();
        if self.dice.chance(5) {
            return self.claim_in_vain(n, most).await;
        }
        let mut all: Vec<Claimed> = Vec::new();
        loop {
            let left = most - all.len();
            let lanes = &mut self.workers[n].lanes;
            let asks = lanes.ask(left, Timestamp::now(), |_| left, |_| usize::MAX);
            if left == 0 || asks.is_empty() {
                break;
            }
            let claimed = store::claim(&self.pool, worker, &asks).await.map_err(broken)?;
            for ask in &asks {
                let these = || claimed.iter().filter(|job| job.kind == ask.of.kind && job.priority == ask.priority);
                lanes.gave(ask, these().count(), these().map(|job| job.ready_at).max());
            }
            all.extend(claimed);
            if all.len() > most {
                return Err(format!("{} were claimed instead of {most}", all.len()));
            }
        }
        let about: Vec<String> = all.iter().map(|job| job.id.to_string()).collect();
        self.tell("claim", format!("{most} by {worker}: {}", about.join(", ")));
        if all.len() != most.min(ready.len()) {
            return Err(format!("{} of {} that were ready were claimed, {most} being asked for", all.len(), ready.len()));
        }
        let taken: BTreeSet<Uuid> = all.iter().map(|job| job.id).collect();
        for job in all {
            let Some(known) = ready.get(&job.id) else { return Err(format!("{} was claimed and is not ready", job.id)) };
            // Nobody who is left is before it.
            let before = ready.iter().find(|(id, other)| {
                !taken.contains(*id)
                    && (other.priority > known.priority
                        || (other.priority == known.priority
                            && other.kind.name == known.kind.name
                            && other.place < known.place))
            });
            if let Some((id, _)) = before {
                return Err(format!("{} was claimed before {id}", job.id));
            }
            let said = (job.attempt, &job.saved, job.cancel_requested, &job.concurrency_key);
            let right = (known.attempt + 1, &known.saved, known.cancelled, &known.key);
            if said != right {
                return Err(format!("{} was claimed as {said:?}, not {right:?}", job.id));
            }
            // What is written under an older number is refused for ever.
            if let Some(before) = self.claims.insert(job.id, job.claim).filter(|before| *before >= job.claim) {
                return Err(format!("{} was claimed under the number {} after {before}", job.id, job.claim));
            }
            let claim = self.model.claim(job.id, worker);
            let running = Running::new(job.id, worker, (job.attempt, job.claim), known.kind.queue);
            if job.cancel_requested {
                // Nobody begins it.
                let why = Error::cancel("it was cancelled before it was begun");
                let end = run::failed(&info(&known.kind), job.attempt, &why, &running, job.id);
                *self.counts.entry("claim: one that is to end").or_default() += 1;
                self.write(vec![(ended(&job, &known.kind, end), claim)]).await?;
            } else {
                self.workers[n].has.push(Held { job, running, claim });
            }
        }
        Ok(())
    }

    /// A claim whose answer is lost: nobody but the database knows whose the jobs are.
    async fn claim_in_vain(&mut self, n: usize, most: usize) -> Outcome {
        let worker = &mut self.workers[n];
        let (id, asks) = (worker.id, worker.lanes.ask(most, Timestamp::now(), |_| most, |_| usize::MAX));
        worker.blind = true;
        for job in store::claim(&self.pool, id, &asks).await.map_err(broken)? {
            self.model.claim(job.id, id);
            self.claims.insert(job.id, job.claim);
            self.tell("claim: the answer is lost", format!("{} by {id}", job.id));
        }
        Ok(())
    }

    /// A worker's look over all lanes.
    async fn look(&mut self, n: usize) -> Outcome {
        let worker = &mut self.workers[n];
        let (kinds, priorities): (Vec<&str>, Vec<i16>) = worker.lanes.all().unzip();
        let (id, shift) = (worker.id, self.jobs.shift());
        let answer = self.pool.get().await.map_err(broken)?.query(&LOOK, &[&kinds, &priorities, &shift, &id]).await;
        let answer = answer.map_err(broken)?;
        let rest = answer.rows.iter().find(|row| row.get::<_, Option<i64>>(0).is_none()).ok_or("a look without an end")?;
        for row in answer.rows.iter().filter(|row| row.get::<_, Option<i64>>(0).is_some()) {
            worker.lanes.wake_nth(usize::try_from(row.get::<_, i64>(0)).unwrap_or(1) - 1, row.get(1));
        }
        worker.blind = false;
        let cancelled: BTreeSet<Uuid> = rest.get::<_, Option<Vec<Uuid>>>(3).unwrap_or_default().into_iter().collect();
        worker.has.iter().filter(|held| cancelled.contains(&held.job.id)).for_each(|held| held.running.cancel(HOUR));
        let of_mine = |job: &Job| job.state == State::Running(id) && job.cancelled;
        let live = || self.model.live.iter();
        let right: BTreeSet<Uuid> = live().filter(|(_, job)| of_mine(job)).map(|(id, _)| *id).collect();
        let (lost, held) = (rest.get::<_, bool>(4), rest.get::<_, bool>(5));
        let right_lost = live().any(|(_, job)| self.model.is_lost(job));
        let right_held = live().any(|(_, job)| job.state == State::Held);
        if (&cancelled, lost, held) != (&right, right_lost, right_held) {
            return Err(format!("a look says {cancelled:?} {lost} {held}, not {right:?} {right_lost} {right_held}"));
        }
        let (jobs, claims): (Option<Vec<Uuid>>, Option<Vec<i32>>) = (rest.get(6), rest.get(7));
        let known: BTreeSet<Claim> = worker.has.iter().map(|held| (held.job.id, held.job.claim)).collect();
        let said: BTreeSet<Claim> = jobs.into_iter().flatten().zip(claims.into_iter().flatten()).collect();
        let of_it = |(_, job): &(&Uuid, &Job)| job.state == State::Running(id);
        let right: BTreeSet<Claim> = live().filter(of_it).map(|(id, _)| (*id, self.claims[id])).collect();
        if said != right || !said.is_superset(&known) {
            return Err(format!("{id} is said to have {said:?}, not {right:?}"));
        }
        self.due(rest.get(2))?;
        self.tell("look", id.to_string());
        let stranded: Vec<Claim> = said.difference(&known).copied().collect();
        for (job, _) in &stranded {
            let claim = self.model.live.get(job).map_or(0, |job| job.claim);
            self.model.end(*job, claim, End::Again(0, false));
            self.tell("look: one that is stranded", job.to_string());
        }
        let back = give_back(&self.jobs, id, &stranded).await.map_err(broken)?;
        if back != stranded.len() {
            return Err(format!("{back} of {stranded:?} were given back"));
        }
        let wakes = self.jobs.waker().next().now_or_never().unwrap_or_default();
        self.wake(wakes).await
    }

    /// Whether it was told rightly when the next job is due.
    fn due(&self, micros: Option<i64>) -> Outcome {
        let right = self.model.next_due().map(|due| (due - self.model.hour) * HOUR_US);
        match (micros, right) {
            (None, None) => Ok(()),
            // What was written a moment ago is due a moment before the hour is full.
            (Some(said), Some(right)) if (right - HOUR_US / 2..=right).contains(&said) => Ok(()),
            _ => Err(format!("the next one is due in {micros:?} µs, not {right:?}")),
        }
    }
}
