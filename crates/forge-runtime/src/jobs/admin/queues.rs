//! Queues: how deep they are, and pausing them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use forge_core::{Error, Result};

use super::super::Jobs;
use super::super::store::get;
use super::{ANY, COMPLETED, DEAD, DEPTHS, KNOWN, PAUSE, PAUSED, QueueView, RESUME};
use crate::admin::{Actor, Admin, Done, Look};
use crate::config::nearest;

/// How long a count is good, at least; one that took long is good for ten times as long as it took.
const GOOD_FOR: Duration = Duration::from_secs(1);

/// The longest name of a queue that can be paused, in bytes.
const NAME_MAX: usize = 200;

/// What was counted last, so that many who look count once.
#[derive(Debug, Default)]
pub(crate) struct Counts(tokio::sync::Mutex<Option<(Instant, Arc<[QueueView]>)>>);

impl Counts {
    /// Whoever looks next counts.
    pub(crate) async fn forget(&self) {
        *self.0.lock().await = None;
    }
}

impl Jobs {
    /// How all queues stand: those of this app's jobs, and whatever others there are.
    pub(crate) async fn queues(&self, admin: &Admin, counts: &Counts) -> Result<Arc<[QueueView]>> {
        let mut last = counts.0.lock().await;
        if let Some((until, queues)) = &*last
            && *until > Instant::now()
        {
            return Ok(queues.clone());
        }
        let began = Instant::now();
        let queues: Arc<[QueueView]> = self.count_queues(admin).await?.into();
        *last = Some((Instant::now() + GOOD_FOR.max(began.elapsed() * 10), queues.clone()));
        Ok(queues)
    }

    async fn count_queues(&self, admin: &Admin) -> Result<Vec<QueueView>> {
        let mut queues = Queues::default();
        for queue in self.registry().queues() {
            queues.of(queue.to_owned());
        }
        let look = admin.look().await?;
        for row in &look.run(&DEPTHS, &[&self.shift()]).await?.rows {
            let queue = queues.of(get(row, 0)?);
            (queue.ready, queue.scheduled, queue.held, queue.running) =
                (get(row, 1)?, get(row, 2)?, get(row, 3)?, get(row, 4)?);
            (queue.oldest_ready_seconds, queue.next_due_seconds) = (get(row, 5)?, get(row, 6)?);
        }
        for row in &look.run(&DEAD, &[]).await?.rows {
            let queue = queues.of(get(row, 0)?);
            (queue.dead_letters, queue.died_per_minute) = (get(row, 1)?, get(row, 2)?);
        }
        for row in &look.run(&PAUSED, &[]).await?.rows {
            let queue = queues.of(get(row, 0)?);
            (queue.paused, queue.paused_by, queue.paused_at) = (true, get(row, 1)?, get(row, 2)?);
        }
        self.completed(&look, &mut queues).await?;
        look.end().await;
        Ok(queues.0.into_values().collect())
    }

    /// How many were completed in the last minute: here up to now, elsewhere up to the last beat.
    async fn completed(&self, look: &Look, queues: &mut Queues) -> Result<()> {
        for (queue, count) in self.cluster().last_minute() {
            queues.of(queue.to_owned()).completed_per_minute += i64::try_from(count).unwrap_or(i64::MAX);
        }
        for row in &look.run(&COMPLETED, &[&self.cluster().info().me()]).await?.rows {
            queues.of(get(row, 0)?).completed_per_minute += get::<i64>(row, 1)?;
        }
        Ok(())
    }

    /// Pauses a queue everywhere, or lets it go on. Returns whether that changed anything.
    ///
    /// # Errors
    /// `NOT_FOUND` when no job waits in a queue of that name, unless it is to be paused all the same: those who use it may not have begun yet.
    pub(crate) async fn pause_queue(&self, admin: &Admin, actor: &Actor, queue: &str, wish: Pause) -> Result<bool> {
        if queue.is_empty() || queue.len() > NAME_MAX || queue.contains('\0') {
            return Err(Error::invalid_argument(format!("the name of a queue has 1 to {NAME_MAX} bytes, and no NUL")));
        }
        if wish != (Pause::Pause { unknown: true }) {
            self.check_queue(admin, queue).await?;
        }
        let act = admin.act(actor).await?;
        let (action, answer) = match wish {
            Pause::Pause { .. } => ("queues.pause", act.run(&PAUSE, &[&queue, &actor.who]).await?),
            Pause::Resume => ("queues.resume", act.run(&RESUME, &[&queue]).await?),
        };
        if answer.affected == 0 {
            act.undo().await;
            return Ok(false);
        }
        act.done(&Done { action, target: Some(queue), count: 1, details: None }).await?;
        self.queues_changed();
        Ok(true)
    }

    /// Whether there is such a queue: a job of this app or of another node's waits in it, it is paused, or something is in it.
    async fn check_queue(&self, admin: &Admin, queue: &str) -> Result<()> {
        let mut known: BTreeSet<String> = self.registry().queues().into_iter().map(str::to_owned).collect();
        if known.contains(queue) {
            return Ok(());
        }
        let look = admin.look().await?;
        for row in &look.run(&KNOWN, &[]).await?.rows {
            known.insert(get(row, 0)?);
        }
        let is_known =
            known.contains(queue) || look.run(&ANY, &[&queue]).await?.rows.first().map_or(Ok(false), |row| get(row, 0))?;
        look.end().await;
        if is_known {
            return Ok(());
        }
        let near = nearest(queue, known.iter().map(String::as_str));
        let known: Vec<String> = known.into_iter().collect();
        Err(Error::not_found(format!(
            "there is no queue `{}`: no job of a node that lives waits in one of that name{near}; there are: {}. If those that use it have not begun yet, say that \
             it is to be paused all the same (`force`)",
            queue.escape_debug(),
            known.join(", ")
        )))
    }
}

/// What is to become of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pause {
    Pause {
        /// Also when nobody knows it.
        unknown: bool,
    },
    Resume,
}

/// Queues, by name.
#[derive(Default)]
struct Queues(BTreeMap<String, QueueView>);

impl Queues {
    fn of(&mut self, queue: String) -> &mut QueueView {
        self.0.entry(queue.clone()).or_insert_with(|| QueueView { queue, ..QueueView::default() })
    }
}
