//! What is right: the queue in memory, one rule after the other, without any of the means that the real one has for it.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

/// A kind of job.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) queue: &'static str,
    /// One live job per key.
    pub(super) unique: bool,
    /// So many at a time per key.
    pub(super) limit: Option<usize>,
}

/// The kinds of the test.
pub(super) const KINDS: [Kind; 5] = [
    Kind { name: "letter", queue: "mail", unique: false, limit: None },
    Kind { name: "parcel", queue: "freight", unique: false, limit: None },
    Kind { name: "registered", queue: "mail", unique: true, limit: None },
    Kind { name: "by_van", queue: "freight", unique: false, limit: Some(2) },
    Kind { name: "by_courier", queue: "freight", unique: true, limit: Some(1) },
];

/// How many workers a job takes down before it is taken for what does so. Fewer than it is, so that it happens.
pub(super) const CRASHES_MAX: i32 = 2;

/// How a job stands that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Ready,
    /// Until this hour.
    Scheduled(i64),
    Running(Uuid),
    /// Until its key has a place.
    Held,
}

/// A job that has not ended.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) kind: Kind,
    pub(super) priority: i16,
    pub(super) state: State,
    /// Who became ready before whom. Those that do so by one statement have one place.
    pub(super) place: u64,
    pub(super) attempt: i32,
    pub(super) crashes: i32,
    /// Which claim it is that runs it: no two have the same number.
    pub(super) claim: u64,
    pub(super) unique: Option<String>,
    pub(super) key: Option<String>,
    pub(super) cancelled: bool,
    pub(super) saved: Option<String>,
}

impl Job {
    /// Where it waits when it waits for nothing but its turn.
    fn waiting(&self) -> State {
        if self.key.is_some() { State::Held } else { State::Ready }
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Done, and whether that is kept.
    Completed(bool),
    /// Again after so many hours; whether the attempt counts.
    Again(i64, bool),
    Dead,
    Cancelled,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) live: BTreeMap<Uuid, Job>,
    /// What is known of those that have ended, in the words of [`described`](Self::described).
    ended: BTreeMap<Uuid, String>,
    /// Those that are dead letters, as they were.
    letters: BTreeMap<Uuid, Job>,
    pub(super) paused: BTreeSet<&'static str>,
    /// The hour that it is.
    pub(super) hour: i64,
    pub(super) dead: BTreeSet<Uuid>,
    /// Those of them that were only cut off from the database.
    pub(super) cut_off: BTreeSet<Uuid>,
    places: u64,
    claims: u64,
}

impl Model {
    /// The next place.
    pub(super) fn place(&mut self) -> u64 {
        self.places += 1;
        self.places
    }

    /// The live job with this key.
    pub(super) fn with_key(&self, kind: &Kind, key: &str) -> Option<Uuid> {
        self.live
            .iter()
            .find(|(_, job)| job.kind.name == kind.name && job.unique.as_deref() == Some(key))
            .map(|(id, _)| *id)
    }

    /// Writes a job down, after so many hours; returns its id, or that of the one whose key it has.
    pub(super) fn enqueue(&mut self, id: Uuid, mut job: Job, delay: i64) -> Uuid {
        if let Some(before) = job.unique.as_deref().and_then(|key| self.with_key(&job.kind, key)) {
            return before;
        }
        job.place = self.place();
        job.state = if delay > 0 { State::Scheduled(self.hour + delay) } else { job.waiting() };
        self.live.insert(id, job);
        id
    }

    /// What may be claimed.
    pub(super) fn ready(&self) -> impl Iterator<Item = (&Uuid, &Job)> {
        self.live.iter().filter(|(_, job)| job.state == State::Ready && !self.paused.contains(job.kind.queue))
    }

    /// Takes a job. Returns the claim's number.
    pub(super) fn claim(&mut self, id: Uuid, worker: Uuid) -> u64 {
        self.claims += 1;
        if let Some(job) = self.live.get_mut(&id) {
            (job.state, job.claim, job.attempt) = (State::Running(worker), self.claims, job.attempt + 1);
        }
        self.claims
    }

    /// The job that a claim runs, if it still does.
    pub(super) fn of_claim(&mut self, id: Uuid, claim: u64) -> Option<&mut Job> {
        self.live.get_mut(&id).filter(|job| job.claim == claim && matches!(job.state, State::Running(_)))
    }

    /// Writes down how a claim ended, if it is still the job's.
    pub(super) fn end(&mut self, id: Uuid, claim: u64, end: End) {
        let (hour, place) = (self.hour, self.place());
        let Some(job) = self.of_claim(id, claim) else { return };
        match end {
            End::Completed(false) => drop(self.live.remove(&id)),
            End::Completed(true) => self.is_over(id, "completed"),
            End::Cancelled => self.is_over(id, "cancelled"),
            End::Dead => self.is_over(id, "dead"),
            End::Again(delay, spent) => {
                job.attempt -= i32::from(!spent);
                // One that is to end has nothing to wait for.
                let waits = delay > 0 && !job.cancelled;
                // What was only handed back has its place again.
                if spent || delay > 0 {
                    job.place = place;
                    // It was begun and came to an end: its worker has outlived it.
                    job.crashes = 0;
                }
                job.state = if waits { State::Scheduled(hour + delay) } else { job.waiting() };
            }
        }
    }

    fn is_over(&mut self, id: Uuid, how: &str) {
        if let Some(job) = self.live.remove(&id) {
            if how == "dead" {
                self.letters.insert(id, job.clone());
            }
            self.ended.insert(id, format!("{how} {} p{} a{} c{}", job.kind.name, job.priority, job.attempt, job.crashes));
        }
    }

    /// Gives what the dead had to the others.
    pub(super) fn take_over(&mut self) {
        let place = self.place();
        let lost: Vec<Uuid> = self.live.iter().filter(|(_, job)| self.is_lost(job)).map(|(id, _)| *id).collect();
        for id in lost {
            let Some(job) = self.live.get_mut(&id) else { continue };
            let fell = !matches!(job.state, State::Running(worker) if self.cut_off.contains(&worker));
            job.crashes += i32::from(fell);
            if fell && job.crashes >= CRASHES_MAX {
                self.is_over(id, "dead");
            } else {
                (job.attempt, job.place, job.state) = (job.attempt - 1, place, job.waiting());
            }
        }
    }

    /// Whether a job runs on a worker that is dead.
    pub(super) fn is_lost(&self, job: &Job) -> bool {
        matches!(job.state, State::Running(worker) if self.dead.contains(&worker))
    }

    /// Makes ready what is due.
    pub(super) fn promote(&mut self) {
        let (place, hour) = (self.place(), self.hour);
        for job in self.live.values_mut().filter(|job| matches!(job.state, State::Scheduled(due) if due <= hour)) {
            (job.place, job.state) = (place, job.waiting());
        }
    }

    /// When the next job is due.
    pub(super) fn next_due(&self) -> Option<i64> {
        let due = |job: &Job| if let State::Scheduled(due) = job.state { Some(due) } else { None };
        self.live.values().filter_map(due).min()
    }

    /// Cancels a job. Returns whether there was one to cancel.
    pub(super) fn cancel(&mut self, id: Uuid) -> bool {
        match self.live.get_mut(&id) {
            Some(job) if matches!(job.state, State::Running(_)) => {
                // Its work may be dispatched anew.
                (job.cancelled, job.unique) = (true, None);
            }
            Some(_) => self.is_over(id, "cancelled"),
            None => return false,
        }
        true
    }

    /// The dead letters.
    pub(super) fn letters(&self) -> Vec<Uuid> {
        self.letters.keys().copied().collect()
    }

    /// Puts dead letters back, in the order of their ids, but for those whose key a live job has. Returns which.
    pub(super) fn retry(&mut self, these: &[Uuid]) -> BTreeSet<Uuid> {
        let place = self.place();
        let mut back = BTreeSet::new();
        for id in these {
            let Some(job) = self.letters.get(id).cloned() else { continue };
            if job.unique.as_deref().is_some_and(|key| self.with_key(&job.kind, key).is_some()) {
                continue;
            }
            let state = job.waiting();
            self.live.insert(*id, Job { state, place, attempt: 0, crashes: 0, claim: 0, cancelled: false, ..job });
            self.letters.remove(id);
            self.ended.remove(id);
            back.insert(*id);
        }
        back
    }

    /// How many places a key has left, and who waits for one.
    pub(super) fn waiting_for(&self, kind: &str, key: &str) -> (usize, Vec<Uuid>) {
        let of_key = || self.live.iter().filter(|(_, job)| job.kind.name == kind && job.key.as_deref() == Some(key));
        let taken = of_key().filter(|(_, job)| matches!(job.state, State::Ready | State::Running(_))).count();
        let limit = KINDS.iter().find(|one| one.name == kind).and_then(|kind| kind.limit).unwrap_or(0);
        let held = of_key().filter(|(_, job)| job.state == State::Held).map(|(id, _)| *id).collect();
        (limit.saturating_sub(taken), held)
    }

    /// Whether nothing is left that runs, is ready, or is due, but for what waits in queues that are paused.
    pub(super) fn is_idle(&self) -> bool {
        self.live.values().all(|job| match job.state {
            State::Ready | State::Held => self.paused.contains(job.kind.queue),
            State::Scheduled(due) => due > self.hour,
            State::Running(_) => false,
        })
    }

    /// Every job, in words that the database has as well.
    pub(super) fn described(&self) -> BTreeMap<Uuid, String> {
        let mut all = self.ended.clone();
        all.extend(self.live.iter().map(|(id, job)| {
            let state = match job.state {
                State::Ready => "ready".to_owned(),
                State::Scheduled(_) => "scheduled".to_owned(),
                State::Running(worker) => format!("running {worker}"),
                State::Held => "held".to_owned(),
            };
            let (cancelled, saved) = (job.cancelled, job.saved.as_deref().unwrap_or("-"));
            let Job { kind, priority, attempt, crashes, .. } = job;
            (*id, format!("{state} {} p{priority} a{attempt} c{crashes} cancelled={cancelled} saved={saved}", kind.name))
        }));
        all
    }

    /// How the API calls what a job is.
    pub(super) fn status(&self, id: Uuid) -> Option<&str> {
        if let Some(job) = self.live.get(&id) {
            return Some(if matches!(job.state, State::Running(_)) { "running" } else { "waiting" });
        }
        self.ended.get(&id).and_then(|how| how.split(' ').next())
    }

    /// All that there ever were and that are still known.
    pub(super) fn known(&self) -> Vec<Uuid> {
        self.live.keys().chain(self.ended.keys()).copied().collect()
    }
}
