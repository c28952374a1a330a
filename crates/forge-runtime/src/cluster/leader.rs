//! Leading: what only one node may do at a time.
//!
//! ```text
//!  nobody leads ─ candidate's beat: advisory lock, then the row with the next term ─▶ leads ─ every beat renews the lease ─▶ ..
//!                                                                                       └ lock, session or lease lost, told to stop ─▶ revoked
//! ```
//!
//! The row of `forge_leaders` is the truth. The lock only spares waiting for the lease when a leader's session has ended; a node that reaches the
//! database through a pooler alone leads without it.
//!
//! Nobody can be kept from believing to lead: it may have been asleep since it looked. So **every write of a leader is fenced**: it reads the row
//! `FOR SHARE` in the same statement, see [`LEADS`].

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

#[cfg(test)]
use forge_core::Result;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::node::{LeaderRole, NodeId};
#[cfg(test)]
use crate::db::error::from_driver;

/// The fence: has a row as long as the role `$1` is led in the term `$2`, and keeps it so until the transaction ends. It belongs INTO the statement that
/// writes (READ COMMITTED shows every statement a state of its own, and what is only compared may be over at the commit):
///
/// ```sql
/// WITH leads AS (SELECT term FROM forge_leaders WHERE role = $1 AND term = $2 FOR SHARE)
/// INSERT INTO .. SELECT .. FROM leads, ..
/// ```
///
/// A statement that writes nothing because of it says that somebody else leads. Statements of one transaction that come after it are safe with it.
#[cfg(test)]
pub(crate) const LEADS: &str = "SELECT term FROM forge_leaders WHERE role = $1 AND term = $2 FOR SHARE";

/// Whether this node leads, and waits until it does. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct LeaderElection(pub(super) watch::Receiver<Option<LeaderGuard>>);

impl LeaderElection {
    /// The guard, if this node leads.
    #[cfg(test)]
    pub(crate) fn guard(&self) -> Option<LeaderGuard> {
        self.0.borrow().clone().filter(LeaderGuard::holds)
    }

    /// Waits until this node leads; forever when it never does.
    pub(crate) async fn elected(&mut self) -> LeaderGuard {
        loop {
            let led = self.0.borrow_and_update().clone().filter(LeaderGuard::holds);
            if let Some(guard) = led {
                return guard;
            }
            if self.0.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }
}

/// This node leads, as far as it knows: whoever does something as the leader asks [`holds`](Self::holds) before, stops at
/// [`revoked`](Self::revoked), and fences what it writes with [`term`](Self::term).
#[derive(Debug, Clone)]
pub(crate) struct LeaderGuard(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    role: LeaderRole,
    node: NodeId,
    term: i64,
    since: Timestamp,
    lease: Duration,
    /// When the lease ends by this node's clock, which is not later than by the database's: counted from before it was asked for.
    until: Mutex<Instant>,
    revoked: CancellationToken,
}

impl LeaderGuard {
    /// Of a term that began `since`, by the database's clock; it was asked for at an instant of this node's.
    pub(super) fn new(
        (role, node): (LeaderRole, NodeId),
        (term, since): (i64, Timestamp),
        asked_at: Instant,
        lease: Duration,
    ) -> Self {
        let (until, revoked) = (Mutex::new(asked_at + lease), CancellationToken::new());
        Self(Arc::new(Inner { role, node, term, since, lease, until, revoked }))
    }

    /// In what it leads.
    pub(crate) fn role(&self) -> LeaderRole {
        self.0.role
    }

    /// As which node.
    pub(crate) fn node(&self) -> NodeId {
        self.0.node
    }

    /// The term to fence writes with: `$2` of [`LEADS`].
    pub(crate) fn term(&self) -> i64 {
        self.0.term
    }

    /// Since when, by the database's clock.
    pub(super) fn since(&self) -> Timestamp {
        self.0.since
    }

    /// Whether it still leads, as far as is known here without asking.
    pub(crate) fn holds(&self) -> bool {
        !self.0.revoked.is_cancelled() && Instant::now() < self.until()
    }

    /// How long a statement under this guard may run: it must have ended before somebody else leads, who waits for it.
    pub(crate) fn statement_timeout(&self) -> Duration {
        self.0.lease / 2
    }

    /// Waits until it does not lead any more: told to stop, the lock or the session is lost, or the lease is over.
    pub(crate) async fn revoked(&self) {
        loop {
            let until = self.until();
            tokio::select! {
                () = self.0.revoked.cancelled() => return,
                () = tokio::time::sleep_until(until.into()) => {}
            }
            if Instant::now() >= self.until() {
                return;
            }
        }
    }

    /// Reads the fence in a transaction, before its first write: false says that somebody else leads, and that nothing may be written. What the
    /// transaction writes after it is fenced.
    ///
    /// # Errors
    /// Those of a statement.
    #[cfg(test)]
    pub(crate) async fn fence(&self, transaction: &tokio_postgres::Client) -> Result<bool> {
        let led = transaction.query_opt(LEADS, &[&self.0.role.as_str(), &self.0.term]).await.map_err(from_driver)?;
        Ok(led.is_some())
    }

    fn until(&self) -> Instant {
        *self.0.until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn renewed(&self, asked_at: Instant) {
        *self.0.until.lock().unwrap_or_else(PoisonError::into_inner) = asked_at + self.0.lease;
    }

    pub(super) fn revoke(&self) {
        self.0.revoked.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(term: i64, lease: Duration) -> LeaderGuard {
        LeaderGuard::new((LeaderRole::Scheduler, NodeId::nil()), (term, Timestamp::UNIX_EPOCH), Instant::now(), lease)
    }

    #[tokio::test]
    async fn a_guard_ends_with_its_lease_however_often_that_was_renewed() {
        let lease = Duration::from_millis(60);
        let began = Instant::now();
        let guard = guard(1, lease);
        let (waiting, (tell, told)) = (guard.clone(), tokio::sync::oneshot::channel());
        let task = tokio::spawn(async move {
            waiting.revoked().await;
            // Nobody may listen any more.
            let _ = tell.send(Instant::now());
        });
        let renewed_at = began + Duration::from_millis(40);
        tokio::time::sleep_until(renewed_at.into()).await;
        assert!(guard.holds());
        guard.renewed(renewed_at);
        assert!(told.await.unwrap() >= renewed_at + lease);
        assert!(!guard.holds());
        task.await.unwrap();
    }

    #[tokio::test]
    async fn an_election_gives_only_what_still_holds() {
        let (seat, seen) = watch::channel(None);
        let mut election = LeaderElection(seen);
        let lease = Duration::from_secs(60);
        let first = guard(1, lease);
        seat.send_replace(Some(first.clone()));
        assert_eq!(election.elected().await.term(), 1);
        first.revoke();
        first.revoked().await;
        assert!(election.guard().is_none());
        let waiting = tokio::spawn(async move { election.elected().await.term() });
        seat.send_replace(Some(guard(2, lease)));
        assert_eq!(waiting.await.unwrap(), 2);
    }
}
