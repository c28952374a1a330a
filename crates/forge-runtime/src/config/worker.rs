//! `[worker]`: what a node with the role `worker` does.

use std::time::Duration;

use super::kind::{duration, int, list, optional, text};
use super::table::{section, tables};
use super::units::{hours, secs};

section! {
    /// Workers: nodes that run jobs. Each runs the jobs of its app whose capability it has.
    pub struct WorkerConfig(mode) {
        /// How many jobs may run at once on this node.
        concurrency: u32 = 50, int(1..=10_000);
        /// What this node can do: it runs jobs that ask for one of these. Jobs that say nothing ask for `general`.
        capabilities: Vec<String> = vec!["general".into()], list(text());
        /// Limits of single queues.
        queues: Vec<QueueConfig> = Vec::new(), tables(QueueConfig::check);
        /// How long jobs that run may take to end once the node was told to stop. What is left then is handed back, for others to begin
        /// again, and no attempt of it is counted.
        drain_timeout: Duration = secs(30), duration(secs(0)..=hours(24));
    }
}

section! {
    /// The queue of jobs.
    pub struct JobsConfig(mode) {
        /// How many jobs may wait in one queue. Whoever dispatches more gets `QUEUE_FULL`. Queues are counted every few seconds, so that some
        /// more may come in meanwhile.
        max_pending: u64 = 1_000_000, int(1..=1_000_000_000);
    }
}

section! {
    /// A queue, as a worker sees it.
    pub struct QueueConfig(mode) {
        /// The queue.
        name: String = String::new(), text();
        /// How many of its jobs may run at once on this node; as many as worker.concurrency says when not said.
        max: Option<u32> = None, optional(int(1..=10_000));
        /// How many places of this node are kept free for it.
        reserved: u32 = 0, int(0..=10_000);
    }
}

impl QueueConfig {
    fn check(&self) -> Result<(), String> {
        if self.name.is_empty() {
            return Err("a queue needs its `name`".into());
        }
        match self.max {
            Some(max) if max < self.reserved => Err(format!(
                "the queue `{}` has more `reserved` places ({}) than it may use (`max` = {max})",
                self.name, self.reserved
            )),
            _ => Ok(()),
        }
    }
}
