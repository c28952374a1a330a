//! Looks at the change feed: how up to date what is kept is, and for whom.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use crate::feed::Snapshot;
use crate::function::Written;

/// What is kept is used for so long after a look at the feed began: what others have committed is missed for no longer.
pub(super) const LAG_MAX: Duration = Duration::from_millis(50);

/// After so long another look is taken while what is kept is being used, so that nobody has to wait for it.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How long a call waits for a look. When that is not enough, nothing that is kept is used until one has succeeded.
const WAIT_MAX: Duration = Duration::from_millis(100);

/// The last look.
#[derive(Debug, Clone, Default)]
pub(super) struct Look {
    number: u64,
    failed: bool,
    /// None before the first one.
    began: Option<Instant>,
    commits: u64,
    snapshot: Arc<Snapshot>,
}

/// What is needed of a look before a call may be shown what is kept.
#[derive(Debug)]
pub(super) struct Need {
    pub(super) arrived: Instant,
    commits: u64,
    written: Written,
}

impl Need {
    /// Whether something that was read in a snapshot contains all that the caller has to see.
    pub(super) fn is_met(&self, began: Instant, commits: u64, snapshot: Option<&Snapshot>) -> bool {
        began + LAG_MAX >= self.arrived
            && commits >= self.commits
            && (!self.written.now || began >= self.arrived)
            && self.written.xids.iter().all(|xid| snapshot.is_some_and(|snapshot| snapshot.sees(*xid)))
    }
}

/// Looks, as they are asked for and as they have been taken.
#[derive(Debug, Default)]
pub(super) struct Looks {
    /// How many have begun.
    begun: AtomicU64,
    /// How many commits of this node have been answered or are about to be.
    commits: AtomicU64,
    pub(super) wanted: Notify,
    last: watch::Sender<Look>,
    /// One takes too long.
    late: AtomicBool,
}

impl Looks {
    /// This node has committed something: from now on it has to be seen.
    pub(super) fn committed(&self) {
        self.commits.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn commits(&self) -> u64 {
        self.commits.load(Ordering::SeqCst)
    }

    /// What a call that comes now has to see.
    pub(super) fn need(&self, written: &Written) -> Need {
        Need { arrived: Instant::now(), commits: self.commits(), written: written.clone() }
    }

    /// Makes sure that what is kept is good enough for a call. False when it cannot be found out in time.
    pub(super) async fn meet(&self, need: &Need) -> bool {
        {
            let last = self.last.borrow();
            if let Some(began) = last.began.filter(|_| !last.failed)
                && began.elapsed() <= LAG_MAX
                && need.is_met(began, last.commits, Some(&last.snapshot))
            {
                if began.elapsed() > LOOK_EVERY {
                    self.wanted.notify_one();
                }
                return true;
            }
            if last.failed || self.late.load(Ordering::Relaxed) {
                // Whoever comes while it is found out when the feed can be read again does not wait for that.
                self.wanted.notify_one();
                return false;
            }
        }
        // A look that begins from now on sees all that was committed before.
        let before = self.begun.load(Ordering::SeqCst);
        let mut last = self.last.subscribe();
        self.wanted.notify_one();
        let met = last.wait_for(|last| {
            let enough = last.began.is_some_and(|began| need.is_met(began, last.commits, Some(&last.snapshot)));
            last.number > before || (enough && !last.failed)
        });
        match tokio::time::timeout(WAIT_MAX, met).await {
            // A transaction that even this one does not see is none that was committed.
            Ok(Ok(look)) => {
                !look.failed && look.began.is_some_and(|began| need.is_met(began, look.commits, Some(&look.snapshot)))
            }
            Ok(Err(_)) => false,
            Err(_) => {
                self.late.store(true, Ordering::Relaxed);
                false
            }
        }
    }

    /// A look begins, before anything is asked of the database.
    pub(super) fn begin(&self) -> Beginning {
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        Beginning { number, at: Instant::now(), commits: self.commits() }
    }

    /// It has shown this, which has been taken in.
    pub(super) fn end(&self, begun: &Beginning, snapshot: Snapshot) {
        self.late.store(false, Ordering::Relaxed);
        self.last.send_replace(Look {
            number: begun.number,
            failed: false,
            began: Some(begun.at),
            commits: begun.commits,
            snapshot: Arc::new(snapshot),
        });
    }

    /// The feed could not be read.
    pub(super) fn failed(&self) {
        let number = self.begun.load(Ordering::SeqCst);
        self.last.send_modify(|last| (last.number, last.failed) = (number, true));
    }
}

/// When a look began.
#[derive(Debug)]
pub(super) struct Beginning {
    number: u64,
    at: Instant,
    commits: u64,
}
