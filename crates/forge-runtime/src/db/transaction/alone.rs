//! A read that is a transaction by itself.

use std::sync::Arc;
use std::time::Instant;

use super::remaining_ms;
use super::statements::{BEGIN_READ, ROLLBACK, SET_READ};
use crate::db::{Answer, Lease, Params, Shape};

/// Runs a read on a connection of its own, inside a read-only transaction that is always rolled back, so that nothing
/// the statement did to its session outlives it. One round trip; one more when it is `fresh`, as in [`Transaction::new`](super::Transaction::new).
pub(crate) async fn read_alone(
    lease: &Lease,
    shape: &Arc<Shape>,
    params: Params<'_>,
    deadline: Instant,
    fresh: bool,
) -> Result<Answer, tokio_postgres::Error> {
    let statement = if fresh { None } else { Some(lease.prepare(shape).await?) };
    let begin = lease.prepare(&BEGIN_READ).await?;
    let set = lease.prepare(&SET_READ).await?;
    let rollback = lease.prepare(&ROLLBACK).await?;
    lease.busy();
    let timeout = remaining_ms(deadline);
    let settings: Params<'_> = &[&timeout];
    let (begin, set) = (lease.run(&begin, &[]), lease.run(&set, settings));
    let (begun, set, rows, ended) = match &statement {
        Some(statement) => futures_util::join!(begin, set, lease.run(statement, params), lease.run(&rollback, &[])),
        None => {
            let (begun, set, rows) = futures_util::join!(begin, set, lease.query(shape, params));
            (begun, set, rows, lease.run(&rollback, &[]).await)
        }
    };
    if ended.is_ok() {
        lease.clean();
    }
    // When an earlier one failed, a later one says only that the transaction is aborted.
    begun?;
    set?;
    rows
}
