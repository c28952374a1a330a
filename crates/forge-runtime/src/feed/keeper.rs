//! The keeper of the decision about the sink, one per node.
//!
//! ```text
//!  at the start, and when something happens:
//!    may this node read the log, and is it to? ── no ──▶ object; make it `changelog`
//!                                              └─ yes ─▶ take an objection back; when nobody else objects, make it `wal`
//! ```
//!
//! So it is `wal` when every node can follow, and one node that cannot is enough for `changelog`: two that differ do not take turns. An objection
//! holds for a while even when its reason is gone, each time longer, so that one that comes and goes does not make the sink do the same. One of a
//! node that has died ends by itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use forge_core::{Error, Result};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Shared;
use super::sink::{self, Recorded, Sink};
use super::survey::Survey;
use crate::config::CaptureMode;
use crate::db::{Database, new_uuid};

/// How often an objection is renewed, and how often a node that writes rows looks whether it could be the log.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// How long an objection holds that is not renewed.
const OBJECTION: Duration = Duration::from_secs(180);

/// How long a node that could not read the log goes on objecting, at first and at most.
const HOLD: (Duration, Duration) = (Duration::from_secs(600), Duration::from_secs(3600));

/// See the module.
#[derive(Debug)]
pub(crate) struct FeedKeeper {
    database: Database,
    shared: Arc<Shared>,
    wish: CaptureMode,
    node: Uuid,
    /// What the reader could not do.
    trouble: watch::Receiver<Option<String>>,
    /// Why this node objects, and until when at least.
    held: Option<(String, Instant)>,
    hold_next: Duration,
    objecting: bool,
    /// The log can be read, as far as was seen.
    surveyed: bool,
}

impl FeedKeeper {
    pub(super) fn new(
        database: Database,
        shared: Arc<Shared>,
        wish: CaptureMode,
        trouble: watch::Receiver<Option<String>>,
    ) -> Self {
        Self {
            database,
            shared,
            wish,
            node: new_uuid(),
            trouble,
            held: None,
            hold_next: HOLD.0,
            objecting: false,
            surveyed: false,
        }
    }

    /// Looks after the decision until told to stop.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut recorded = self.shared.recorded.subscribe();
        loop {
            let quiet = !self.objecting && self.shared.sink() == Some(Sink::Wal);
            tokio::select! {
                () = stop.cancelled() => break,
                // It fails when the reader has ended, which it does when the node stops.
                Ok(()) = self.trouble.changed() => self.note_trouble(),
                Ok(()) = recorded.changed() => {}
                () = tokio::time::sleep(LOOK_EVERY), if !quiet => {}
            }
            if let Err(why) = self.decide().await {
                tracing::debug!(error = ?why, "the sink of changes could not be looked after; trying again later");
            }
            recorded.mark_unchanged();
        }
        if self.objecting
            && let Ok(lease) = self.database.side().get().await
        {
            // Else it ends by itself.
            let _ = sink::withdraw(lease.client(), self.node).await;
        }
    }

    fn note_trouble(&mut self) {
        if let Some(why) = self.trouble.borrow_and_update().clone() {
            tracing::warn!(reason = %why, "the log of changes cannot be read; changes are written to a table until that is different");
            self.held = Some((why, Instant::now() + self.hold_next));
            self.hold_next = (self.hold_next * 2).min(HOLD.1);
            self.surveyed = false;
        }
    }

    /// Does what is to be done now.
    ///
    /// # Errors
    /// `REACTIVITY_LOG_UNAVAILABLE` when the log is demanded and cannot be read; when the database is away.
    pub(crate) async fn decide(&mut self) -> Result<()> {
        let objection = self.objection().await?;
        let lease = self.database.side().get().await?;
        lease.busy();
        let recorded = match objection {
            Some(why) => {
                sink::object(lease.client(), self.node, &why, OBJECTION.as_secs_f64()).await?;
                self.objecting = true;
                sink::change(lease.client(), Sink::Changelog, &why).await?
            }
            None => {
                if std::mem::take(&mut self.objecting) {
                    sink::withdraw(lease.client(), self.node).await?;
                }
                let now = sink::recorded(lease.client()).await?;
                match now.sink {
                    Sink::Wal => now,
                    Sink::Changelog => self.to_the_log(lease.client(), now).await?,
                }
            }
        };
        lease.clean();
        self.shared.note(recorded);
        Ok(())
    }

    async fn to_the_log(&self, client: &tokio_postgres::Client, now: Recorded) -> Result<Recorded> {
        if let Some(why) = sink::objection(client).await? {
            if self.wish == CaptureMode::Wal {
                tracing::warn!(reason = %why, "reactivity.capture is `wal`, but another node objects");
            }
            return Ok(now);
        }
        sink::publish(client).await?;
        let recorded = sink::change(client, Sink::Wal, "every node can read the log").await?;
        if recorded.epoch != now.epoch {
            tracing::info!(sink = recorded.sink.name(), epoch = recorded.epoch, "changes are written to another sink");
        }
        Ok(recorded)
    }

    /// Why this node is not to read the log.
    async fn objection(&mut self) -> Result<Option<String>> {
        if self.wish == CaptureMode::Changelog {
            return Ok(Some("reactivity.capture is `changelog`".to_owned()));
        }
        if let Some((why, until)) = &self.held {
            if Instant::now() < *until {
                return Ok(Some(why.clone()));
            }
            self.held = None;
        }
        if self.surveyed {
            return Ok(None);
        }
        let survey = Survey::take(&self.database).await?;
        let lasting = survey.obstacles(true);
        if self.wish == CaptureMode::Wal && !lasting.is_empty() {
            let text = format!(
                "reactivity.capture is `wal`, but the server's log cannot be read ({}); the command `doctor` says what to do, or use `auto`",
                lasting.join("; ")
            );
            return Err(Error::config("REACTIVITY_LOG_UNAVAILABLE", text));
        }
        let obstacles = survey.obstacles(false);
        self.surveyed = obstacles.is_empty();
        Ok((!self.surveyed).then(|| obstacles.join("; ")))
    }
}
