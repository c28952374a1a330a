//! Results that are read bit by bit, for those that should not be in memory as a whole.
//!
//! ```text
//!  DECLARE ──▶ FETCH a batch ──▶ its rows, one at a time ──▶ FETCH the next ──▶ .. ──▶ the last one: closed
//!                                        └──dropped half way──▶ closed
//! ```
//!
//! A stream is a cursor of the server in a transaction: in a mutation in the mutation's own, so that it sees what the mutation wrote; in
//! a query in one that is begun for it, read-only and over one snapshot, on a connection of its own, never a shared one.
//!
//! What it promises: nothing is fetched before it is asked for, so that a slow reader slows the server down instead of filling memory; no
//! more than one batch is held, some 256 KiB of rows; between two batches the connection is free, so that the body of a loop over a
//! stream may run other statements of the same mutation; a stream that is dropped leaves nothing running.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use forge_core::{Error, Result};
use futures_util::{Stream, TryFutureExt as _, TryStreamExt as _};
use tokio_postgres::{Row, Statement as Prepared};

use super::FromRow;
use super::connect::Params;
use super::row::{RowView, positions};
use super::statement::Shape;
use super::transaction::Transaction;

/// How many rows the first batch has: how large they are is known only after it.
const FIRST_ROWS: usize = 64;

/// How large a batch should be.
const BATCH_BYTES: usize = 256 * 1024;

/// How many rows a batch has at most, however small they are.
const ROWS_MAX: usize = 4096;

/// The rows of a statement as they come: what `fetch` returns. A [`Stream`]; [`try_next`](Self::try_next) needs no import.
///
/// Nothing is sent before the first row is asked for. The stream ends with its rows or with the first error: what the database says, or
/// a row that does not fit `R`. Dropping it half way is fine, and leaves nothing running on the server.
#[must_use = "a stream does nothing until its rows are asked for"]
pub struct Rows<'a, R>(Pin<Box<dyn Stream<Item = Result<R>> + Send + 'a>>);

impl<'a, R: FromRow + 'a> Rows<'a, R> {
    /// The rows of a cursor that is opened when the first of them is asked for.
    pub(super) fn new(opening: impl Future<Output = Result<Cursor>> + Send + 'a) -> Self {
        let rows =
            |cursor| futures_util::stream::try_unfold(Reading { cursor, batch: None, positions: None }, Reading::next);
        Self(Box::pin(opening.map_ok(rows).try_flatten_stream()))
    }

    /// The next row; `None` after the last.
    ///
    /// # Errors
    /// What the database says, or `DATABASE_ERROR` when the row does not fit `R`. After an error there are no more rows.
    pub async fn try_next(&mut self) -> Result<Option<R>> {
        self.0.try_next().await
    }
}

impl<R> Stream for Rows<'_, R> {
    type Item = Result<R>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}

impl<R> fmt::Debug for Rows<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows").finish_non_exhaustive()
    }
}

/// A cursor, and the batch that was fetched last.
struct Reading {
    cursor: Cursor,
    batch: Option<std::vec::IntoIter<Row>>,
    /// Where the fields' columns are: found once.
    positions: Option<Vec<usize>>,
}

impl Reading {
    async fn next<R: FromRow>(mut self) -> Result<Option<(R, Self)>> {
        loop {
            if let Some(row) = self.batch.as_mut().and_then(Iterator::next) {
                let positions = match &mut self.positions {
                    Some(known) => known,
                    none => none.insert(positions::<R>(&row)?),
                };
                let value = R::from_row(&RowView::new(&row, positions))?;
                return Ok(Some((value, self)));
            }
            if self.cursor.state == State::Ended {
                return Ok(None);
            }
            // The old batch goes before the new one comes.
            self.batch = None;
            self.batch = Some(self.cursor.fetch().await?.into_iter());
        }
    }
}

/// A cursor of the server.
#[derive(Debug)]
pub(crate) struct Cursor {
    transaction: Arc<Transaction>,
    /// Whether the transaction was begun for this cursor, and ends with it.
    alone: bool,
    /// The statement it is for.
    shape: Arc<Shape>,
    seat: usize,
    state: State,
    /// `FETCH` so many rows.
    fetch: Option<(usize, Prepared)>,
    rows_next: usize,
    /// How long the server was waited for.
    took: Duration,
    failed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The cursor may or may not be there.
    Opening,
    /// The cursor is there and nothing runs.
    Idle,
    /// A batch was asked for and did not come yet.
    Fetching,
    /// It has been closed.
    Ended,
}

impl Cursor {
    /// Opens a cursor in a transaction; `alone` when the transaction is only for it.
    pub(crate) async fn open(
        transaction: Arc<Transaction>,
        alone: bool,
        shape: &Arc<Shape>,
        params: Params<'_>,
    ) -> Result<Self> {
        if !shape.is_select() {
            return Err(Error::internal(format!(
                "only what a SELECT returns can be streamed; use fetch_all for this statement: {}",
                shape.text
            )));
        }
        let seat = transaction.cursors.take();
        let mut cursor = Self {
            transaction,
            alone,
            shape: shape.clone(),
            seat,
            state: State::Opening,
            fetch: None,
            rows_next: FIRST_ROWS,
            took: Duration::ZERO,
            failed: false,
        };
        let declare =
            Shape::with_params(&format!("DECLARE {} NO SCROLL CURSOR FOR {}", name(seat), shape.text), shape.params);
        let began = Instant::now();
        let declared = cursor.transaction.query(&declare, params).await;
        cursor.took += began.elapsed();
        match declared {
            Ok(_) => cursor.state = State::Idle,
            Err(why) => {
                cursor.failed().await;
                return Err(why);
            }
        }
        Ok(cursor)
    }

    /// The next batch. One that is short was the last, and the cursor is closed by then.
    async fn fetch(&mut self) -> Result<Vec<Row>> {
        self.state = State::Fetching;
        let began = Instant::now();
        let fetched = self.batch().await;
        self.took += began.elapsed();
        let (asked, rows) = match fetched {
            Ok(batch) => batch,
            Err(why) => {
                self.failed().await;
                return Err(why);
            }
        };
        self.state = State::Idle;
        if rows.len() < asked {
            self.close().await;
        } else {
            let bytes: usize = rows.iter().map(Row::raw_size_bytes).sum();
            self.rows_next = (BATCH_BYTES * rows.len() / bytes.max(1)).clamp(1, ROWS_MAX);
        }
        Ok(rows)
    }

    /// How many rows were asked for, and those that came.
    async fn batch(&mut self) -> Result<(usize, Vec<Row>)> {
        let size = match &self.fetch {
            // Preparing it anew pays only when much changes.
            Some((size, _)) if self.rows_next < size * 2 && size < &(self.rows_next * 2) => *size,
            _ => {
                let text = format!("FETCH {} FROM {}", self.rows_next, name(self.seat));
                self.fetch = Some((self.rows_next, self.transaction.prepare(&text, &self.shape).await?));
                self.rows_next
            }
        };
        match &self.fetch {
            Some((_, prepared)) => Ok((size, self.transaction.run(prepared, &self.shape).await?)),
            None => Err(Error::internal("a cursor was read before it was opened")),
        }
    }

    /// The end, after an error: a cursor goes with its failed transaction.
    async fn failed(&mut self) {
        (self.state, self.failed) = (State::Ended, true);
        if self.alone {
            self.transaction.rollback().await;
        }
    }

    /// The end, after the last row.
    async fn close(&mut self) {
        if self.alone {
            // The connection is free for others while the last rows are looked at.
            self.transaction.rollback().await;
        } else {
            self.transaction.send_and_forget(&format!("CLOSE {}", name(self.seat)));
            self.transaction.cursors.give_back(self.seat);
        }
        self.state = State::Ended;
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        crate::observability::statement_ran(&self.shape, self.took, !self.failed);
        match self.state {
            // In a transaction of its own a running batch is cancelled, as that is dropped now.
            State::Ended => {}
            State::Idle if self.alone => {
                // Nothing runs, so the connection can be kept; without a runtime it is closed.
                let transaction = self.transaction.clone();
                if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                    runtime.spawn(async move { transaction.rollback().await });
                }
            }
            State::Idle | State::Fetching if !self.alone => {
                self.transaction.send_and_forget(&format!("CLOSE {}", name(self.seat)));
                self.transaction.cursors.give_back(self.seat);
            }
            // Whether the cursor is there is not known: its name is not used again, and it ends with the transaction.
            State::Idle | State::Fetching | State::Opening => {}
        }
    }
}

/// A cursor's name. Few are open at once, so that names come again, and with them the statements that are prepared already.
fn name(seat: usize) -> String {
    format!("forge_stream_{seat}")
}

/// Which cursors of a transaction are open.
#[derive(Debug, Default)]
pub(super) struct Seats(Mutex<Vec<bool>>);

impl Seats {
    /// The lowest that is free.
    fn take(&self) -> usize {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let seat = taken.iter().position(|taken| !taken).unwrap_or(taken.len());
        if seat == taken.len() {
            taken.push(true);
        }
        taken[seat] = true;
        seat
    }

    fn give_back(&self, seat: usize) {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = taken.get_mut(seat) {
            *taken = false;
        }
    }
}
