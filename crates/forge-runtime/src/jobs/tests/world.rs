//! A queue on a database, its workers, and the model beside it. A step is taken by both and compared.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use forge_core::Error;
use forge_core::job::{Backoff, Concurrency, JobInfo, Priority, RetryPolicy};
use futures_util::FutureExt as _;
use jiff::Timestamp;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::super::context::Running;
use super::super::finish::{End as Written, Ended, Finisher};
use super::super::lanes::{LaneKind, Lanes};
use super::super::store::{
    self, Claimed, HELD, IDLE, LOOK, NewJob, PROMOTE, PROMOTE_MAX, RELEASE, RELEASE_LOCK, SAVE, TAKE_OVER, Way, get,
};
use super::super::wake::Wake;
use super::super::{JobRegistry, Jobs, dispatch, run};
use super::model::{CRASHES_MAX, End, Job, KINDS, Kind, Model, State};
use crate::cluster::Cluster;
use crate::config::JobsConfig;
use crate::db::{Answer, Params, Pool, Shape};
use crate::realtime::differential::{Dice, Place};

/// How many workers live at a time.
const WORKERS: usize = 3;

/// How many sorts of steps and ends are counted, so that it is seen that all happen.
pub(super) const COUNTED: usize = 26;

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
            80..=82 => self.crash().await?,
            83..=85 => self.haunt().await?,
            86..=88 => self.take_over().await?,
            89..=94 => self.travel().await?,
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
        let written = store::enqueue(Way::Alone(&self.pool), &batch, self.shift()).await.map_err(broken)?;
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
        self.due(rest.get(2))?;
        self.tell("look", id.to_string());
        Ok(())
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

    /// Some of a worker's jobs end.
    async fn end(&mut self) -> Outcome {
        let n = self.dice.below(self.workers.len());
        let mut these = Vec::new();
        for _ in 0..1 + self.dice.below(4) {
            let has = self.workers[n].has.len();
            if has > 0 {
                let held = self.workers[n].has.swap_remove(self.dice.below(has));
                these.push(self.how(held)?);
            }
        }
        self.write(these).await
    }

    /// How an attempt ends.
    fn how(&mut self, held: Held) -> Outcome<(Ended, u64)> {
        let Held { job, running, claim } = held;
        let kind = KINDS.into_iter().find(|kind| kind.name == job.kind).unwrap_or(KINDS[0]);
        let hours = 1 + self.dice.below(3) as i64;
        let ends = running.is_cancelled();
        let (why, right) = match self.dice.below(10) {
            0..=3 => {
                self.tell("end: completed", job.id.to_string());
                let output = if self.dice.chance(50) { "null" } else { "{\"n\":1}" }.to_owned();
                let end = Written::Completed { output, keep: self.dice.chance(80) };
                return Ok((ended(&job, &kind, end), claim));
            }
            4..=5 => {
                self.tell("end: failed", job.id.to_string());
                let last = job.attempt >= 3;
                (Error::internal("it fails"), if last { End::Dead } else { End::Again(1, true) })
            }
            6..=7 => {
                self.tell("end: put off", job.id.to_string());
                (Error::retry_in(HOUR * hours as u32), End::Again(hours, false))
            }
            8 => {
                self.tell("end: given up", job.id.to_string());
                (Error::cancel("it is pointless"), End::Cancelled)
            }
            _ => {
                self.tell("end: handed back", job.id.to_string());
                running.let_go();
                (Error::cancelled(), End::Again(0, false))
            }
        };
        // Whoever was told to end does, unless it is let go.
        let right = if ends && !running.is_let_go() { End::Cancelled } else { right };
        let end = run::failed(&info(&kind), job.attempt, &why, &running, job.id);
        match meant(&end) {
            said if said == right => Ok((ended(&job, &kind, end), claim)),
            said => Err(format!("{} ends as {said:?}, not {right:?}", job.id)),
        }
    }

    /// Has the finisher write ends down, and the model as well.
    async fn write(&mut self, these: Vec<(Ended, u64)>) -> Outcome {
        for (one, claim) in &these {
            self.model.end(one.id, *claim, meant(&one.end));
        }
        let these: Vec<Ended> = these.into_iter().map(|(one, _)| one).collect();
        self.finish(&these).await?;
        if !these.is_empty() {
            self.written.push(these);
        }
        Ok(())
    }

    async fn finish(&mut self, these: &[Ended]) -> Outcome {
        let (sender, ended) = mpsc::channel(these.len().max(1));
        for one in these {
            sender.send(one.clone()).await.map_err(broken)?;
        }
        drop(sender);
        // It would try for ever.
        let finishing = Finisher { jobs: self.jobs.clone(), ended }.run();
        tokio::time::timeout(Duration::from_secs(30), finishing).await.map_err(|_| "ends cannot be written down")?;
        let wakes = self.jobs.waker().next().now_or_never().unwrap_or_default();
        self.wake(wakes).await
    }

    /// A worker that does not know whether ends were written writes them again, however much has happened meanwhile, or others instead.
    async fn repeat(&mut self) -> Outcome {
        if self.written.is_empty() {
            return Ok(());
        }
        // Mostly one of the last.
        let back = if self.dice.chance(70) { self.dice.below(3) } else { self.dice.below(self.written.len()) };
        let n = self.written.len() - 1 - back.min(self.written.len() - 1);
        let mut again = self.written[n].clone();
        if self.dice.chance(40) {
            for one in &mut again {
                let error = "{\"code\":\"OTHERWISE\"}".to_owned();
                one.end = match self.dice.below(3) {
                    0 => Written::Completed { output: "null".into(), keep: true },
                    1 => Written::Again { delay: HOUR, error: Some(error), unspent: false },
                    _ => Written::Over { error, retain: Some(HOUR) },
                };
            }
            *self.counts.entry("repeat: otherwise").or_default() += 1;
        }
        self.tell("repeat", again.iter().map(|one| one.id.to_string()).collect::<Vec<_>>().join(", "));
        self.finish(&again).await
    }

    async fn cancel(&mut self) -> Outcome {
        let known = self.model.known();
        let id = if known.is_empty() || self.dice.chance(5) { self.id() } else { *self.dice.pick(&known) };
        self.tell("cancel", id.to_string());
        let key = self.model.live.get(&id).and_then(|job| Some((job.kind.name, job.key.clone()?)));
        let right = self.model.cancel(id);
        let said = self.jobs.cancel(id, "it is not wanted").await.map_err(broken)?;
        if said != right {
            return Err(format!("that {id} could be cancelled is {said}, not {right}"));
        }
        if self.model.live.contains_key(&id) {
            let told = !self.is_lost();
            let has = self.workers.iter().flat_map(|worker| &worker.has).filter(|held| told && held.job.id == id);
            has.for_each(|held| held.running.cancel(HOUR));
            *self.counts.entry("cancel: one that runs").or_default() += 1;
        } else if let Some((kind, key)) = key {
            self.release(kind, &key).await?;
        }
        Ok(())
    }

    async fn save(&mut self) -> Outcome {
        if self.dice.chance(40) && !self.written.is_empty() {
            // Of a job that it has no more.
            let back = self.dice.below(self.written.len().min(5));
            let Ended { id, worker, claim, .. } = self.written[self.written.len() - 1 - back][0];
            self.tell("save: too late", format!("of {id} by {worker}"));
            let affected = self.ask(&SAVE, &[&id, &worker, &claim, &"0"]).await?.affected;
            return if affected == 0 { Ok(()) } else { Err(format!("{id} was saved by who has it no more")) };
        }
        let n = self.dice.below(self.workers.len() + self.ghosts.len());
        let worker = self.workers.get(n).or_else(|| self.ghosts.get(n - self.workers.len()));
        let Some(held) = worker.and_then(|worker| worker.has.first()) else { return Ok(()) };
        let (id, by, fence, claim) = (held.job.id, held.job.worker, held.job.claim, held.claim);
        let value = self.dice.below(100).to_string();
        self.tell("save", format!("{value} of {id} by {by}"));
        let affected = self.ask(&SAVE, &[&id, &by, &fence, &value]).await?.affected;
        let job = self.model.of_claim(id, claim);
        if (affected == 1) != job.is_some() {
            return Err(format!("that {id} could be saved is {affected}"));
        }
        if let Some(job) = job {
            job.saved = Some(value);
        }
        Ok(())
    }

    async fn pause(&mut self) -> Outcome {
        let queue = self.dice.pick(&KINDS).queue;
        let paused = self.model.paused.insert(queue);
        if !paused {
            self.model.paused.remove(queue);
        }
        self.tell(if paused { "pause" } else { "resume" }, queue.to_owned());
        let text = "INSERT INTO forge_job_queues (queue, paused) VALUES ($1, $2) ON CONFLICT (queue) DO UPDATE SET paused = excluded.paused";
        self.place.client.execute(text, &[&queue, &paused]).await.map_err(broken)?;
        // Whoever has asked for what was paused finds it with the next look.
        self.workers.iter_mut().for_each(|worker| worker.blind |= !paused);
        Ok(())
    }

    async fn join(&mut self) -> Outcome {
        let id = self.id();
        let text = "INSERT INTO forge_nodes (id, hostname, roles, capabilities, status, version, forge_version, started_at) \
                    VALUES ($1, 'here', '{}', '{}', 'active', '1', '1', now())";
        self.place.client.execute(text, &[&id]).await.map_err(broken)?;
        let lanes = Lanes::new(KINDS.iter().map(|kind| LaneKind { kind: kind.name, queue: kind.queue }));
        self.workers.push(Worker { id, lanes, blind: true, has: Vec::new() });
        Ok(())
    }

    /// A worker is taken for dead. It may not know.
    async fn crash(&mut self) -> Outcome {
        let worker = self.workers.remove(self.dice.below(self.workers.len()));
        self.tell("crash", worker.id.to_string());
        // Its row may have been swept away before anybody looks.
        let gone = self.dice.chance(30);
        let text = if gone {
            "DELETE FROM forge_nodes WHERE id = $1"
        } else {
            "UPDATE forge_nodes SET status = 'dead' WHERE id = $1"
        };
        self.place.client.execute(text, &[&worker.id]).await.map_err(broken)?;
        self.model.dead.insert(worker.id);
        self.ghosts.push(worker);
        self.join().await
    }

    /// Somebody dead writes down how its jobs ended: before they are taken from it, or after that.
    async fn haunt(&mut self) -> Outcome {
        let with: Vec<usize> = (0..self.ghosts.len()).filter(|n| !self.ghosts[*n].has.is_empty()).collect();
        if with.is_empty() {
            return Ok(());
        }
        let n = *self.dice.pick(&with);
        let held = self.ghosts[n].has.remove(0);
        self.tell("haunt", format!("{} by {}", held.job.id, held.job.worker));
        let one = self.how(held)?;
        self.write(vec![one]).await
    }

    async fn take_over(&mut self) -> Outcome {
        self.tell("take over", String::new());
        self.model.take_over();
        let answer = self.ask(&TAKE_OVER, &[&CRASHES_MAX, &HOUR_US, &"JOB_POISON"]).await?;
        let mut wakes = Vec::new();
        for row in &answer.rows {
            let (kind, at): (String, Option<Timestamp>) = (get(row, 1).map_err(broken)?, get(row, 3).map_err(broken)?);
            match (row.get::<_, Option<String>>(4), at) {
                (Some(key), _) => wakes.push(Wake::Held { kind, key }),
                (None, Some(at)) => wakes.push(Wake::Ready { kind: kind.into(), priority: row.get(2), at }),
                (None, None) => *self.counts.entry("take over: poison").or_default() += 1,
            }
        }
        self.wake(wakes).await
    }

    /// Time passes, and what is due becomes ready.
    async fn travel(&mut self) -> Outcome {
        let hours = 1 + self.dice.below(2) as u32;
        self.model.hour += i64::from(hours);
        self.jobs.cluster().clock().advance(HOUR * hours);
        self.tell("travel", format!("to hour {}", self.model.hour));
        if self.dice.chance(20) {
            return Ok(());
        }
        self.model.promote();
        let answer = self.ask(&PROMOTE, &[&self.shift(), &PROMOTE_MAX]).await?;
        let mut wakes = Vec::new();
        for row in &answer.rows {
            match row.get::<_, Option<String>>(0) {
                Some(kind) if row.get::<_, i16>(2) == 0 => {
                    wakes.push(Wake::Ready { kind: kind.into(), priority: row.get(1), at: get(row, 3).map_err(broken)? });
                }
                Some(kind) => wakes.push(Wake::Held { kind, key: row.get::<_, Option<String>>(4).unwrap_or_default() }),
                None => self.due(row.get(5))?,
            }
        }
        *self.counts.entry("travel: some are due").or_default() += usize::from(!wakes.is_empty());
        self.wake(wakes).await
    }

    /// What is asked rather than done, and the keys that somebody waits for.
    async fn look_around(&mut self) -> Outcome {
        let idle: bool = self.ask(&IDLE, &[&self.shift()]).await?.rows[0].get(0);
        if idle != self.model.is_idle() {
            return Err(format!("that nothing is left to do is {idle}"));
        }
        let known = self.model.known();
        for found in self.jobs.status(&known).await.map_err(broken)? {
            let right = self.model.status(found.id);
            let said = match found.status.as_str() {
                "pending" | "retry" => "waiting",
                "dead_letter" => "dead",
                other => other,
            };
            if right != Some(said) {
                return Err(format!("{} is said to be {said}, not {right:?}", found.id));
            }
        }
        let answer = self.ask(&HELD, &[&"", &"", &100_i32]).await?;
        let held: Vec<(String, String)> = answer.rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        let waits =
            |job: &Job| (job.state == State::Held).then(|| (job.kind.name.to_owned(), job.key.clone().unwrap_or_default()));
        let right: BTreeSet<(String, String)> = self.model.live.values().filter_map(waits).collect();
        if held.iter().cloned().collect::<BTreeSet<_>>() != right || held.len() != right.len() {
            return Err(format!("{held:?} are waited for, not {right:?}"));
        }
        self.tell("look around", format!("{held:?}"));
        for (kind, key) in held {
            self.release(&kind, &key).await?;
        }
        Ok(())
    }

    /// Lets jobs of a key in, and sees that the right ones were.
    async fn release(&mut self, kind: &str, key: &str) -> Outcome {
        let (room, held) = self.model.waiting_for(kind, key);
        let Some(limit) = KINDS.iter().find(|one| one.name == kind).and_then(|kind| kind.limit) else { return Ok(()) };
        self.ask(&RELEASE_LOCK, &[&kind, &key]).await?;
        let answer = self.ask(&RELEASE, &[&kind, &key, &(limit as i64)]).await?;
        for row in &answer.rows {
            let (priority, at) = (row.get(0), get(row, 1).map_err(broken)?);
            self.workers.iter_mut().for_each(|worker| worker.lanes.wake(kind, priority, at));
        }
        // Which they were is seen in the table: of several with one place, any may be.
        let text = "SELECT id FROM forge_jobs WHERE id = ANY ($1) AND state = 0";
        let rows = self.place.client.query(text, &[&held]).await.map_err(broken)?;
        let released: BTreeSet<Uuid> = rows.iter().map(|row| row.get(0)).collect();
        if released.len() != room.min(held.len()) || released.len() != answer.rows.len() {
            return Err(format!(
                "{} of {} that waited for {kind} {key} were let in, with room for {room}",
                released.len(),
                held.len()
            ));
        }
        let place = self.model.place();
        let order = |job: &Job| (std::cmp::Reverse(job.priority), job.place);
        let last = released.iter().filter_map(|id| self.model.live.get(id)).map(order).max();
        let passed =
            held.iter().filter(|id| !released.contains(*id)).filter_map(|id| self.model.live.get(id)).map(order).min();
        if let (Some(last), Some(passed)) = (last, passed)
            && passed < last
        {
            return Err(format!(
                "of those that waited for {kind} {key}, one at {last:?} was let in before one at {passed:?}"
            ));
        }
        if !released.is_empty() {
            self.tell("release", format!("{kind} {key}: {released:?}"));
        }
        for id in released {
            if let Some(job) = self.model.live.get_mut(&id) {
                (job.state, job.place) = (State::Ready, place);
            }
        }
        Ok(())
    }
}

/// What an end says, in the model's words.
fn meant(end: &Written) -> End {
    match end {
        Written::Completed { keep, .. } => End::Completed(*keep),
        Written::Again { delay, unspent, .. } => End::Again(i64::try_from(delay.as_secs() / 3600).unwrap_or(0), !unspent),
        Written::Over { retain: Some(_), .. } => End::Dead,
        Written::Over { retain: None, .. } => End::Cancelled,
    }
}

fn ended(job: &Claimed, kind: &Kind, end: Written) -> Ended {
    let Claimed { id, worker, claim, concurrency_key, .. } = job;
    Ended { id: *id, kind: kind.name, worker: *worker, claim: *claim, concurrency_key: concurrency_key.clone(), end }
}

/// What a kind says of itself.
fn info(kind: &Kind) -> JobInfo {
    let retry =
        RetryPolicy { max_attempts: 3, backoff: Backoff::Fixed, initial: HOUR, max_backoff: HOUR, jitter: false, on: &[] };
    JobInfo {
        name: kind.name,
        doc: "",
        queue: kind.queue,
        priority: Priority::Normal,
        timeout: HOUR,
        retry,
        capability: "general",
        idempotent: kind.unique,
        concurrency: kind.limit.map(|limit| Concurrency { limit: u32::try_from(limit).unwrap_or(1), key: true }),
        rate_limit: None,
        retain: HOUR,
        dead_letter_retain: HOUR,
        track: JobInfo::NOBODY,
        module: "",
        file: "",
        line: 0,
    }
}
