//! Which queues are paused, as this node's worker knows it.
//!
//! The rows say it, and every claim looks at them. This is what spares a worker from asking for what it would not get, and what makes it hand back
//! what it has claimed of a queue that is paused: read when somebody says that it has changed, and now and then as long as any is paused.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use forge_core::Result;

use super::Jobs;
use super::store::get;
use super::wake::{CHANNEL, Wake};
use crate::db::Shape;
use crate::db::error::from_driver;

static PAUSED: LazyLock<Arc<Shape>> = LazyLock::new(|| Shape::of("SELECT queue FROM forge_job_queues WHERE paused"));

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Paused {
    queues: RwLock<HashSet<String>>,
    any: AtomicBool,
}

impl Paused {
    /// Whether any queue is.
    pub(super) fn any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    /// Whether a queue is.
    pub(super) fn is(&self, queue: &str) -> bool {
        self.any() && self.queues.read().unwrap_or_else(PoisonError::into_inner).contains(queue)
    }
}

impl Jobs {
    /// Somebody has paused a queue, or let it go on: all workers are to look.
    pub(super) fn queues_changed(&self) {
        // By the bus alone this node would not hear of it behind a pooler.
        self.waker().wake(Wake::Queues);
        let (about, at) = Wake::Queues.told();
        self.cluster().bus().tell(CHANNEL, &about, at, i64::min);
    }

    /// Looks which queues are paused.
    pub(super) async fn look_for_paused(&self) -> Result<()> {
        let answer = self.pool().get().await?.query(&PAUSED, &[]).await.map_err(from_driver)?;
        let queues: HashSet<String> = answer.rows.iter().map(|row| get(row, 0)).collect::<Result<_>>()?;
        let paused = self.paused();
        paused.any.store(!queues.is_empty(), Ordering::Relaxed);
        *paused.queues.write().unwrap_or_else(PoisonError::into_inner) = queues;
        Ok(())
    }
}
