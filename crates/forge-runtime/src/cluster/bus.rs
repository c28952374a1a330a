//! What nodes tell each other at once: that there is work, for example. Never the work itself, and nothing that must not be missed.
//!
//! ```text
//!  tell ─▶ merged with what waits ─▶ one NOTIFY, at once, then at most one per 5 ms ─▶ the server ─▶ one LISTEN per node ─▶ receivers
//! ```
//!
//! A notification is sent on a session of its own, after whatever it tells of has been committed: inside a transaction of somebody else's it would serialise all
//! commits behind one lock. Whoever is told looks for himself, and now and then without having been told. A receiver hears [`Heard::Everything`] when
//! something may have been missed: at the start, after the session was lost, when it is too slow. An idle node sends nothing.
//!
//! A node hears what it has told itself, too. Sessions are opened when there is somebody to listen, or something to tell.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use forge_core::{ErrorKind, Result};
use tokio::sync::{Notify, broadcast, mpsc, watch};
use tokio_postgres::{Client, Notification};
use tokio_util::sync::CancellationToken;

use crate::db::error::from_driver;
use crate::db::{Connection, Connector, Database};

/// The shortest time between two notifications.
const EVERY: Duration = Duration::from_millis(5);

/// The longest payload, in bytes; PostgreSQL takes less than 8,000. What does not fit is told as "anything".
const PAYLOAD_MAX: usize = 7_900;

/// How many notifications may wait to be handed to the receivers, and how many for one that is slow.
const WAITING_MAX: usize = 1_024;

/// How long to wait after a failure, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// How long sending may take.
const SEND_WITHIN: Duration = Duration::from_secs(5);

/// A peer that says nothing for so long is given up.
const SILENCE: Duration = Duration::from_secs(15);

const ANYTHING: &str = "*";

/// What becomes of two values of one key that are told together, such as `i64::min`.
pub(crate) type Merge = fn(i64, i64) -> i64;

/// What a receiver hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    /// What was told: values by key.
    Told(Arc<BTreeMap<String, i64>>),
    /// Something may have been missed, or there was too much to tell: look at everything.
    Everything,
}

/// The bus of a node. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Bus(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    channels: watch::Sender<BTreeMap<&'static str, broadcast::Sender<Heard>>>,
    waiting: Mutex<BTreeMap<&'static str, Waiting>>,
    told: Notify,
}

/// What waits to be told in a channel.
#[derive(Debug)]
struct Waiting {
    values: BTreeMap<String, i64>,
    merge: Merge,
    /// About how long the payload is.
    bytes: usize,
}

/// Hears what is told in a channel.
#[derive(Debug)]
pub(crate) struct BusReceiver(broadcast::Receiver<Heard>);

impl BusReceiver {
    /// The next thing that is told.
    pub(crate) async fn recv(&mut self) -> Heard {
        match self.0.recv().await {
            Ok(heard) => heard,
            Err(broadcast::error::RecvError::Lagged(_)) => Heard::Everything,
            // Nobody is left who could tell anything.
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

impl Bus {
    pub(super) fn new() -> Self {
        Self(Arc::new(Inner { channels: watch::Sender::default(), waiting: Mutex::default(), told: Notify::new() }))
    }

    /// Hears what is told in a channel from now on; begins with [`Heard::Everything`] once it does. A channel's name is an SQL identifier.
    pub(crate) fn subscribe(&self, channel: &'static str) -> BusReceiver {
        let mut receiver = None;
        self.0.channels.send_modify(|channels| {
            receiver = Some(channels.entry(channel).or_insert_with(|| broadcast::Sender::new(WAITING_MAX)).subscribe());
        });
        // Filled in a line above.
        BusReceiver(receiver.unwrap_or_else(|| broadcast::Sender::new(1).subscribe()))
    }

    /// Tells all nodes a value under a key. What is told before it can be sent is merged.
    pub(crate) fn tell(&self, channel: &'static str, key: &str, value: i64, merge: Merge) {
        let mut waiting = self.waiting();
        let values = waiting.entry(channel).or_insert_with(|| Waiting { values: BTreeMap::new(), merge, bytes: 2 });
        values.put(key, value);
        drop(waiting);
        self.0.told.notify_one();
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, Waiting>> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hears and tells until told to stop.
    pub(crate) async fn run(self, database: Database, stop: CancellationToken) {
        let connector = |purpose| {
            let connector = database.pinned(purpose, &[("idle_session_timeout", "0".to_owned())])?;
            Ok::<_, forge_core::Error>(connector.impatient(SILENCE))
        };
        match (connector("listening"), connector("telling")) {
            (Ok(hearing), Ok(telling)) => {
                tokio::join!(self.hear(hearing, &stop), self.send(telling, &stop));
            }
            // The node does not start with such an address.
            (Err(why), _) | (_, Err(why)) => tracing::error!(error = ?why, "nodes cannot tell each other anything"),
        }
    }

    async fn hear(&self, connector: Connector, stop: &CancellationToken) {
        let mut channels = self.0.channels.subscribe();
        let mut pause = PAUSE.0;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                some = channels.wait_for(|channels| !channels.is_empty()) => if some.is_err() { return },
            }
            let why = tokio::select! {
                () = stop.cancelled() => return,
                why = self.hear_on(&connector, &mut channels, &mut pause) => why,
            };
            match why {
                Err(why) if why.kind() == ErrorKind::Config => {
                    // Said in full by the heart. It stays so for as long as the program runs.
                    tracing::debug!(error = ?why, "this node does not hear what others say");
                    return;
                }
                Err(why) => tracing::warn!(error = ?why, "this node does not hear what others say; trying again"),
                Ok(()) => tracing::warn!("the session that hears what others say has ended; opening another one"),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(PAUSE.1),
            }
        }
    }

    /// Hears until the session ends.
    async fn hear_on(
        &self,
        connector: &Connector,
        channels: &mut watch::Receiver<BTreeMap<&'static str, broadcast::Sender<Heard>>>,
        pause: &mut Duration,
    ) -> Result<()> {
        let (heard, mut hearing) = mpsc::channel(WAITING_MAX);
        let client = connector.listen(heard).await?;
        let mut listens = BTreeMap::new();
        loop {
            let wanted = channels.borrow_and_update().clone();
            for (channel, receivers) in wanted {
                if listens.contains_key(channel) {
                    continue;
                }
                listen(&client, channel).await?;
                // What was told before is lost.
                let _ = receivers.send(Heard::Everything);
                listens.insert(channel, receivers);
            }
            *pause = PAUSE.0;
            tokio::select! {
                notification = hearing.recv() => match notification {
                    Some(notification) => {
                        if let Some(receivers) = listens.get(notification.channel()) {
                            // Nobody may listen any more.
                            let _ = receivers.send(understood(&notification));
                        }
                    }
                    None => return Ok(()),
                },
                changed = channels.changed() => if changed.is_err() { return Ok(()) },
            }
        }
    }

    async fn send(&self, connector: Connector, stop: &CancellationToken) {
        let mut session: Option<Connection> = None;
        let mut pause = PAUSE.0;
        loop {
            let stopping = tokio::select! {
                () = stop.cancelled() => true,
                () = self.0.told.notified() => false,
            };
            let (began, batch) = (Instant::now(), std::mem::take(&mut *self.waiting()));
            let mut failed = false;
            if !batch.is_empty() {
                let sent = tokio::time::timeout(SEND_WITHIN, notify(&connector, &mut session, &batch)).await;
                let sent =
                    sent.unwrap_or_else(|_| Err(forge_core::Error::database_unavailable("a notification got no answer")));
                match sent {
                    Ok(()) => pause = PAUSE.0,
                    Err(why) => {
                        if pause == PAUSE.0 {
                            tracing::warn!(error = ?why, "other nodes cannot be told anything; trying until they can");
                        }
                        (session, failed) = (None, true);
                        self.put_back(batch);
                    }
                }
            }
            if stopping {
                return;
            }
            let mut wait = (began + EVERY).saturating_duration_since(Instant::now());
            if failed {
                wait = pause;
                pause = (pause * 2).min(PAUSE.1);
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    fn put_back(&self, batch: BTreeMap<&'static str, Waiting>) {
        let mut waiting = self.waiting();
        for (channel, before) in batch {
            match waiting.get_mut(channel) {
                Some(since) => before.values.iter().for_each(|(key, value)| since.put(key, *value)),
                None => drop(waiting.insert(channel, before)),
            }
        }
        drop(waiting);
        self.0.told.notify_one();
    }
}

impl Waiting {
    fn put(&mut self, key: &str, value: i64) {
        if let Some(told) = self.values.get_mut(key) {
            *told = (self.merge)(*told, value);
        } else if self.bytes <= PAYLOAD_MAX {
            // Quotes, a colon, a comma, and the longest number there is. Once it is too much, it is told as "anything", and need not grow.
            self.bytes += key.len() + 24;
            self.values.insert(key.to_owned(), value);
        }
    }

    fn payload(&self) -> String {
        let text = serde_json::to_string(&self.values).unwrap_or_default();
        if self.bytes > PAYLOAD_MAX || text.is_empty() || text.len() > PAYLOAD_MAX { ANYTHING.to_owned() } else { text }
    }
}

async fn listen(client: &Client, channel: &str) -> Result<()> {
    client.batch_execute(&format!("LISTEN \"{channel}\"")).await.map_err(from_driver)
}

fn understood(notification: &Notification) -> Heard {
    // What another version says is understood as "anything".
    serde_json::from_str(notification.payload()).map_or(Heard::Everything, |values| Heard::Told(Arc::new(values)))
}

async fn notify(
    connector: &Connector,
    session: &mut Option<Connection>,
    batch: &BTreeMap<&'static str, Waiting>,
) -> Result<()> {
    let (channels, payloads): (Vec<&str>, Vec<String>) = batch.iter().map(|(name, told)| (*name, told.payload())).unzip();
    let open = match session.take().filter(|session| !session.is_closed()) {
        Some(open) => open,
        None => connector.connect().await?,
    };
    let shape = crate::db::Shape::of(
        "SELECT pg_notify(channel, payload) FROM unnest($1::text[], $2::text[]) AS told (channel, payload)",
    );
    open.query(&shape, &[&channels, &payloads]).await.map_err(from_driver)?;
    *session = Some(open);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_together_is_merged_and_bounded() {
        let bus = Bus::new();
        for (key, value) in [("b", 7), ("a", 3), ("b", 5), ("b", 9)] {
            bus.tell("c", key, value, i64::min);
        }
        assert_eq!(bus.waiting()["c"].payload(), r#"{"a":3,"b":5}"#);
        // What failed is merged with what came since.
        let failed = std::mem::take(&mut *bus.waiting());
        bus.tell("c", "b", 4, i64::min);
        bus.tell("d", "x", 1, i64::min);
        bus.put_back(failed);
        assert_eq!(bus.waiting()["c"].payload(), r#"{"a":3,"b":4}"#);
        for key in 0..100_000 {
            bus.tell("c", &format!("{key:020}"), 1, i64::min);
        }
        assert_eq!(bus.waiting()["c"].payload(), "*");
        assert!(bus.waiting()["c"].values.len() < 1_000, "it stops growing");
        assert_eq!(bus.waiting()["d"].payload(), r#"{"x":1}"#);
    }

    #[test]
    fn nothing_that_fits_is_longer_than_may_be() {
        let mut waiting = Waiting { values: BTreeMap::new(), merge: i64::min, bytes: 2 };
        let mut told = String::new();
        for key in 0.. {
            waiting.put(&format!("\"{key}\\"), i64::MIN);
            match waiting.payload() {
                text if text == ANYTHING => break,
                text => told = text,
            }
        }
        assert!(told.len() <= PAYLOAD_MAX && told.len() > PAYLOAD_MAX / 2, "{}", told.len());
    }
}
