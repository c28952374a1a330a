//! `[worker]`: what a node with the role `worker` does.

use std::collections::BTreeSet;
use std::time::Duration;

use forge_core::Error;

use super::kind::{duration, int, list, optional, text};
use super::nearest;
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

impl WorkerConfig {
    /// Whether every one of these queues, whose jobs this node runs, can have a place.
    ///
    /// # Errors
    /// `CONFIG_INVALID` when all places are kept free for some of them, so that jobs of the others would never be begun.
    pub(crate) fn leaves_room_for(&self, queues: &BTreeSet<&str>) -> Result<(), Error> {
        let reserved = |queue: &str| self.queues.iter().find(|one| one.name == queue).map_or(0, |one| one.reserved);
        let sum: u64 = queues.iter().map(|queue| u64::from(reserved(queue))).sum();
        match queues.iter().find(|queue| reserved(queue) == 0) {
            Some(starved) if sum >= u64::from(self.concurrency) => Err(Error::config(
                "CONFIG_INVALID",
                format!(
                    "`worker.queues`: the `reserved` places add up to {sum} of the {} that `worker.concurrency` has, so that no job of the queue \
                     `{starved}` would ever be begun; reserve fewer, or give the node more",
                    self.concurrency
                ),
            )),
            _ => Ok(()),
        }
    }

    /// What is to be said of queues that have limits and are none of the app's.
    pub(crate) fn unknown_queues(&self, known: &BTreeSet<&'static str>) -> Vec<String> {
        let unknown = self.queues.iter().filter(|one| !known.contains(one.name.as_str()));
        let text = |one: &QueueConfig| {
            let near = nearest(&one.name, known.iter().copied());
            format!("`worker.queues` names `{}`, and no job of the app has that queue{near}", one.name)
        };
        unknown.map(text).collect()
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
        /// How many places of this node are kept free for it. All together leave one for queues that have none of their own, or the node does not start.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_places_leave_room_and_names_are_those_of_queues() {
        let mail = QueueConfig { name: "mail".into(), max: None, reserved: 4 };
        let mut config = WorkerConfig { concurrency: 4, queues: vec![mail], ..WorkerConfig::default() };
        let queues = |names: &[&'static str]| names.iter().copied().collect::<BTreeSet<_>>();
        let why = config.leaves_room_for(&queues(&["mail", "default"])).unwrap_err();
        assert!(why.message().contains("add up to 4 of the 4") && why.message().contains("`default`"), "{why:?}");
        // There is nobody to starve, or room for one.
        config.leaves_room_for(&queues(&["mail"])).unwrap();
        config.leaves_room_for(&queues(&["default"])).unwrap();
        config.concurrency = 5;
        config.leaves_room_for(&queues(&["mail", "default"])).unwrap();
        assert_eq!(config.unknown_queues(&queues(&["mail", "default"])), [] as [String; 0]);
        let said = config.unknown_queues(&queues(&["mails", "default"]));
        assert!(said.len() == 1 && said[0].ends_with("did you mean `mails`?"), "{said:?}");
    }
}
