//! The reader: one replication connection at a time, for as long as somebody wants it.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::SENDER_TIMEOUT;
use super::arrivals::{Arrivals, Arrived, Stage, Stream, WAITING_MAX};
use super::messages::{Decoded, decode};
use crate::db::{Connector, Failure, Replication, Told, new_uuid};
use crate::feed::sink::{EPOCH, LOOK};
use crate::observability;

/// The publication that the plugin asks for. No table is ever in it.
pub(crate) const PUBLICATION: &str = "forge_nothing";

/// How long making a slot may take: it waits for every transaction of the whole server that has written something and is still open. As a
/// setting of the server, in milliseconds.
const SLOT_WITHIN: (Duration, &str) = (Duration::from_secs(10), "10000");

/// How long a stream may be away for reasons that may pass by themselves, such as a restart of the server.
const AWAY_MAX: Duration = Duration::from_secs(10);

/// How long to wait before the next attempt, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(5));

/// How long the stream is kept after the last one who wanted it.
const KEPT_FOR: Duration = Duration::from_secs(600);

/// How often the server is asked whether it is still there, and somebody whether the stream is still wanted.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// How long the server may be silent.
const SILENCE_MAX: Duration = Duration::from_secs(25);

/// From how many transactions at this distance on the reader takes a break each time it has read everything. Else it and the server would wake each other
/// for every message, three of a transaction, which takes both more time than reading does. Whoever waits for it ends the break.
const BUSY: (u32, Duration) = (8, Duration::from_micros(250));

/// How long such a break is.
const BREAK: Duration = Duration::from_millis(1);

/// How much of the log is confirmed at a time, in bytes, when the server does not ask for it sooner.
const CONFIRM_AFTER: u64 = 1 << 20;

/// Reads the log.
#[derive(Debug)]
pub(crate) struct Reader {
    connector: Connector,
    arrivals: Arc<Arrivals>,
    wanted: Arc<Notify>,
    /// Why the log cannot be followed, when that will not pass soon.
    trouble: watch::Sender<Option<String>>,
    streams: u64,
}

/// How a stream ended.
enum Ended {
    /// Nobody wants it any more.
    Unwanted,
    /// After it had begun, or before.
    Lost(Failure, Begun),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Begun {
    Yes,
    No,
}

impl Reader {
    /// A reader that fills `arrivals` once it is [wanted](Notify).
    pub(crate) fn new(
        connector: Connector,
        arrivals: Arc<Arrivals>,
        wanted: Arc<Notify>,
        trouble: watch::Sender<Option<String>>,
    ) -> Self {
        Self { connector, arrivals, wanted, trouble, streams: 0 }
    }

    /// Reads until told to stop.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.wanted.notified() => {}
            }
            if self.arrivals.unwanted_for() > KEPT_FOR {
                // That was said of the stream before.
                continue;
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.while_wanted() => {}
            }
            self.trouble.send_replace(None);
            self.arrivals.enter(Stage::Idle, 0);
        }
    }

    async fn while_wanted(&mut self) {
        let (mut since, mut pause) = (Instant::now(), PAUSE.0);
        loop {
            self.arrivals.enter(Stage::Connecting(since), 0);
            let (why, begun) = match self.stream().await {
                Ended::Unwanted => return,
                Ended::Lost(why, begun) => (why, begun),
            };
            observability::live().feed_stream_lost();
            if begun == Begun::Yes {
                (since, pause) = (Instant::now(), PAUSE.0);
                tracing::info!(reason = %why, "the stream of changes has ended; connecting again");
            }
            let passing = match &why {
                // The server is shutting down, starting, recovering.
                Failure::Refused { code, .. } => code.starts_with("57"),
                Failure::Lost(_) => true,
            };
            if !passing || since.elapsed() > AWAY_MAX {
                self.trouble.send_replace(Some(why.to_string()));
            }
            self.arrivals.enter(Stage::Connecting(since), 0);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
            if self.arrivals.unwanted_for() > KEPT_FOR {
                return;
            }
        }
    }

    /// One stream, from connecting to its end.
    async fn stream(&mut self) -> Ended {
        let began = tokio::time::timeout(SLOT_WITHIN.0 * 2, self.begin()).await;
        let (replication, stream, position) = match began {
            Ok(Ok(began)) => began,
            Ok(Err(why)) => return Ended::Lost(explained(why), Begun::No),
            Err(_) => return Ended::Lost(Failure::Lost("the server did not begin to send in time".into()), Begun::No),
        };
        self.trouble.send_replace(None);
        self.arrivals.enter(Stage::Following(stream), position);
        match self.follow(replication).await {
            Ok(()) => Ended::Unwanted,
            Err(why) => Ended::Lost(why, Begun::Yes),
        }
    }

    async fn begin(&mut self) -> Result<(Replication, Stream, u64), Failure> {
        let settings =
            [("wal_sender_timeout", SENDER_TIMEOUT), ("lock_timeout", SLOT_WITHIN.1), ("statement_timeout", "0")];
        let mut replication = self.connector.replication(&settings).await?;
        let ask = "SELECT extract(epoch FROM pg_postmaster_start_time()), \
                          (SELECT setting FROM pg_settings WHERE name = 'wal_block_size'), \
                          (SELECT setting FROM pg_settings WHERE name = 'wal_segment_size')";
        let row = one_row(replication.query(ask).await?)?;
        let [Some(server), Some(page), Some(segment)] = &row[..] else { return Err(not_understood()) };
        let layout = (page.parse().map_err(|_| not_understood())?, segment.parse().map_err(|_| not_understood())?);
        let slot = format!("forge_{}", new_uuid().simple());
        let create = format!("CREATE_REPLICATION_SLOT {slot} TEMPORARY LOGICAL pgoutput (SNAPSHOT 'nothing')");
        let row = one_row(replication.query(&create).await?)?;
        let from = row.get(1).cloned().flatten().ok_or_else(not_understood)?;
        let position = position(&from).ok_or_else(not_understood)?;
        let options = format!("proto_version '1', publication_names '{PUBLICATION}', messages 'true'");
        replication.start(&format!("START_REPLICATION SLOT {slot} LOGICAL {from} ({options})")).await?;
        self.streams += 1;
        Ok((replication, Stream { number: self.streams, server: server.clone(), layout }, position))
    }

    /// Receives until nobody wants it any more.
    async fn follow(&self, mut replication: Replication) -> Result<(), Failure> {
        let (mut transaction, mut confirmed) = (None, self.arrivals.position());
        let mut heard = Instant::now();
        let mut look = tokio::time::interval(LOOK_EVERY);
        let mut pace = Pace::default();
        loop {
            if !replication.has_next() && pace.is_busy() {
                tokio::select! {
                    () = tokio::time::sleep(BREAK) => {}
                    () = self.arrivals.asked.notified() => replication.confirm(self.arrivals.position(), true).await?,
                }
            }
            tokio::select! {
                told = replication.next() => {
                    heard = Instant::now();
                    match told? {
                        Told::Data(data) => {
                            let decoded = decode(data).ok_or_else(not_understood)?;
                            pace.transactions += u32::from(matches!(decoded, Decoded::Commit { .. }));
                            self.receive(decoded, &mut transaction);
                        }
                        Told::Position { position, reply } => {
                            self.arrivals.arrive(None, position);
                            observability::live().feed_position(position);
                            if reply || position > confirmed + CONFIRM_AFTER {
                                confirmed = self.arrivals.position();
                                replication.confirm(confirmed, false).await?;
                            }
                        }
                    }
                }
                () = self.arrivals.renew.notified() => {
                    return Err(Failure::Lost("live queries read from another server by now".into()));
                }
                () = self.arrivals.asked.notified() => replication.confirm(self.arrivals.position(), true).await?,
                _ = look.tick() => {
                    if self.arrivals.unwanted_for() > KEPT_FOR {
                        return Ok(());
                    }
                    if heard.elapsed() > SILENCE_MAX {
                        return Err(Failure::Lost("the server has been silent for too long".into()));
                    }
                    replication.confirm(self.arrivals.position(), true).await?;
                }
            }
        }
    }

    fn receive(&self, decoded: Decoded, transaction: &mut Option<Arrived>) {
        match decoded {
            Decoded::Begin { xid } => {
                *transaction = Some(Arrived { xid, changes: Vec::new(), bytes: 0, committed: SystemTime::UNIX_EPOCH });
            }
            Decoded::Message(text) => {
                if let Some(transaction) = transaction {
                    self.note(&text, transaction);
                }
            }
            Decoded::Commit { end, at } => {
                // One with nothing of ours in it is no news.
                let whole = transaction.take().filter(|whole| whole.bytes > 0);
                let whole = whole.map(|whole| Arrived { committed: time(at), ..whole });
                self.arrivals.arrive(whole, end);
                observability::live().feed_position(end);
            }
            Decoded::Other => {}
        }
    }

    fn note(&self, text: &[u8], transaction: &mut Arrived) {
        transaction.bytes += text.len();
        if transaction.bytes > WAITING_MAX {
            // It will not be kept.
            transaction.changes = Vec::new();
            return;
        }
        match serde_json::from_slice(text) {
            Ok(change) => transaction.changes.push(change),
            // The transaction is news in itself: the round that it wakes reads the epoch, or a row, under its snapshot.
            Err(_) if text.starts_with(EPOCH.as_bytes()) || text == LOOK.as_bytes() => {}
            Err(why) => {
                tracing::error!(error = %why, "a change in the log is not understood; was it written by a newer version? Everything counts as changed");
                self.arrivals.overflow();
            }
        }
    }
}

/// How fast transactions come.
struct Pace {
    since: Instant,
    transactions: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Self { since: Instant::now(), transactions: 0 }
    }
}

impl Pace {
    /// Whether the last few came close to each other.
    fn is_busy(&mut self) -> bool {
        let (few, distance) = BUSY;
        if self.transactions < few {
            return false;
        }
        let last = std::mem::take(self);
        last.since.elapsed() < distance * last.transactions
    }
}

/// The refusal, with what it means where that is not obvious.
fn explained(why: Failure) -> Failure {
    match why {
        Failure::Refused { code, message } if code == "55P03" => {
            let message = format!(
                "a slot could not be made within {:?}, as some transaction of the server stays open: {message}",
                SLOT_WITHIN.0
            );
            Failure::Refused { code, message }
        }
        why => why,
    }
}

fn one_row(rows: Vec<Vec<Option<String>>>) -> Result<Vec<Option<String>>, Failure> {
    rows.into_iter().next().ok_or_else(not_understood)
}

fn not_understood() -> Failure {
    Failure::Lost("the server's answer is not understood".into())
}

/// A position as the server writes it, two hexadecimal numbers.
fn position(text: &str) -> Option<u64> {
    let (high, low) = text.split_once('/')?;
    Some(u64::from_str_radix(high, 16).ok()? << 32 | u64::from_str_radix(low, 16).ok()?)
}

/// A time as the server writes it, in microseconds since 2000.
fn time(micros: i64) -> SystemTime {
    const UNIX_TO_2000: Duration = Duration::from_secs(946_684_800);
    SystemTime::UNIX_EPOCH + UNIX_TO_2000 + Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}
