//! The first statement of a transaction, which takes its BEGIN along.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use forge_core::function::Isolation;

use super::statements::{BEGIN_READ_COMMITTED, BEGIN_SERIALIZABLE, BEGIN_SNAPSHOT, SET_OWN, SET_READ, SET_WRITE};
use super::{Purpose, Transaction, remaining_ms};
use crate::db::{Answer, Lease, Params, Shape};

impl Transaction {
    /// Runs a statement. The first one leaves together with BEGIN and the settings.
    pub(super) async fn query_inner(
        &self,
        lease: &Lease,
        shape: &Arc<Shape>,
        params: Params<'_>,
    ) -> Result<Answer, tokio_postgres::Error> {
        if self.begun.load(Ordering::Relaxed) {
            return lease.query(shape, params).await;
        }
        // Preparing needs no transaction. Doing it first means that BEGIN and the statement leave together.
        if !self.fresh {
            lease.prepare(shape).await?;
        }
        let (begin_shape, set_shape) = match &self.purpose {
            Purpose::Write { isolation: Isolation::Serializable, .. } => (&BEGIN_SERIALIZABLE, &SET_WRITE),
            Purpose::Write { isolation: Isolation::ReadCommitted, .. } => (&BEGIN_READ_COMMITTED, &SET_WRITE),
            Purpose::Own => (&BEGIN_READ_COMMITTED, &SET_OWN),
            Purpose::Snapshot => (&BEGIN_SNAPSHOT, &SET_READ),
        };
        let writes = self.writes();
        if writes && !lease.knows_life() {
            Box::pin(lease.life()).await?;
        }
        let begin = lease.prepare(begin_shape).await?;
        let set = lease.prepare(set_shape).await?;
        if self.begun.swap(true, Ordering::AcqRel) {
            return lease.query(shape, params).await;
        }
        lease.busy();
        let timeout = remaining_ms(self.limit);
        // Polled in this order, the three are sent in this order; nothing else is sent on this connection meanwhile.
        let (begun, set, rows) = match &self.purpose {
            Purpose::Write { user_id, function, trace_id, .. } => {
                let audit: Params<'_> = &[&timeout, user_id, function, trace_id];
                futures_util::join!(lease.run(&begin, &[]), lease.run(&set, audit), lease.query(shape, params))
            }
            Purpose::Own | Purpose::Snapshot => {
                let settings: Params<'_> = &[&timeout];
                futures_util::join!(lease.run(&begin, &[]), lease.run(&set, settings), lease.query(shape, params))
            }
        };
        begun?;
        let set = set?;
        if writes && let Some(xid) = set.rows.first().and_then(|row| row.try_get::<_, String>(0).ok()) {
            // Set once: `begun` lets only one caller come here.
            let _ = self.xid.set(xid);
        }
        rows
    }
}
