//! Those who write: other programs with plain connections, as nothing of what they do is known to the server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio_postgres::{Client, NoTls, Statement};

pub(super) use super::history::Write;
use super::wire::State;
use super::{LISTS, ROWS};
use crate::Result;

/// The peer has smaller numbers.
const ONE_ROW: &str = "UPDATE todo SET revision = $2 WHERE id = $1::bigint";

static REVISION: AtomicI64 = AtomicI64::new(1);

/// A revision that is greater than all before.
pub(crate) fn next_revision() -> i64 {
    REVISION.fetch_add(1, Ordering::Relaxed)
}

/// Connects. The connection ends with the client.
pub(crate) async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// Runs something with a runtime of its own.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// Each list as the database has it.
pub(crate) fn lists(url: &str) -> Result<Vec<State>> {
    block_on(async {
        let rows = connect(url).await?.query("SELECT revision FROM todo ORDER BY id", &[]).await?;
        let revisions: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
        Ok(revisions.chunks(ROWS).map(<[i64]>::to_vec).collect())
    })
}

/// Writers at work on a thread of their own.
#[derive(Debug)]
pub(crate) struct AtWork<T> {
    thread: JoinHandle<Result<T>>,
}

impl<T: Send + 'static> AtWork<T> {
    pub(crate) fn begin(work: impl Future<Output = Result<T>> + Send + 'static) -> Self {
        Self { thread: std::thread::spawn(|| block_on(work)) }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the end.
    pub(crate) fn done(self) -> Result<T> {
        self.thread.join().map_err(|_| "a writer panicked")?
    }
}

/// Writes of one row, at a fixed rate: when one is late, the next ones are made up for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paced {
    pub(crate) per_second: u32,
    /// The lists are divided among them.
    pub(crate) connections: usize,
    pub(crate) lasting: Duration,
    pub(crate) table: &'static str,
}

impl Paced {
    pub(crate) fn begin(self, url: &str) -> AtWork<Vec<Write>> {
        let url = url.to_owned();
        AtWork::begin(async move {
            let text = ONE_ROW.replace("todo", self.table);
            let mut writers = Vec::new();
            for n in 0..self.connections {
                let client = connect(&url).await?;
                let statement = client.prepare(&text).await?;
                writers.push((n, client, statement));
            }
            let began = Instant::now();
            let tasks: Vec<_> = writers
                .into_iter()
                .map(|(n, client, statement)| tokio::spawn(self.write(n, client, statement, began)))
                .collect();
            let mut writes = Vec::new();
            for task in tasks {
                writes.extend(task.await??);
            }
            Ok(writes)
        })
    }

    async fn write(self, n: usize, client: Client, statement: Statement, began: Instant) -> Result<Vec<Write>> {
        let mut writes = Vec::new();
        let period = Duration::from_secs(1) * u32::try_from(self.connections)? / self.per_second;
        let mut random = Random::new(n);
        // Not all of them in the same moment.
        let mut due = began + period * u32::try_from(n)? / u32::try_from(self.connections)?;
        while due < began + self.lasting {
            tokio::time::sleep_until(due.into()).await;
            due += period;
            let (list, row) = (n + self.connections * random.below(LISTS / self.connections), random.below(ROWS));
            let (id, revision) = (i64::try_from(list * ROWS + row + 1)?, next_revision());
            client.execute(&statement, &[&id, &revision]).await?;
            writes.push(Write { list, row, revision, acknowledged: Instant::now() });
        }
        Ok(writes)
    }
}

/// Writers who write as fast as they can.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hammer {
    pub(crate) writers: usize,
    /// Lists that one statement writes to, or 0 for a single row.
    pub(crate) lists_each: usize,
    pub(crate) warm_up: Duration,
    pub(crate) lasting: Duration,
}

impl Hammer {
    /// Returns statements per second. The list 0 is left alone.
    pub(crate) fn begin(self, url: &str) -> AtWork<f64> {
        let url = url.to_owned();
        AtWork::begin(async move {
            let stop = Arc::new(AtomicBool::new(false));
            let count = Arc::new(AtomicI64::new(0));
            let mut tasks = Vec::new();
            for n in 0..self.writers {
                let client = connect(&url).await?;
                tasks.push(tokio::spawn(self.write(n, client, stop.clone(), count.clone())));
            }
            tokio::time::sleep(self.warm_up).await;
            let (before, began) = (count.load(Ordering::Relaxed), Instant::now());
            tokio::time::sleep(self.lasting).await;
            let (after, took) = (count.load(Ordering::Relaxed), began.elapsed());
            stop.store(true, Ordering::Relaxed);
            for task in tasks {
                task.await??;
            }
            Ok((after - before) as f64 / took.as_secs_f64())
        })
    }

    async fn write(self, n: usize, client: Client, stop: Arc<AtomicBool>, count: Arc<AtomicI64>) -> Result<()> {
        let many = "UPDATE todo SET revision = $2 WHERE list_id = ANY($1)";
        let statement = client.prepare(if self.lists_each == 0 { ONE_ROW } else { many }).await?;
        let mut random = Random::new(n);
        // Each has lists of its own: what is measured is what following costs, not who waits for whom.
        let own: Vec<usize> = (1..LISTS).filter(|list| list % self.writers == n).collect();
        while !stop.load(Ordering::Relaxed) {
            let revision = next_revision();
            if self.lists_each == 0 {
                let id = i64::try_from(own[random.below(own.len())] * ROWS + random.below(ROWS) + 1)?;
                client.execute(&statement, &[&id, &revision]).await?;
            } else {
                let first = random.below(own.len());
                let lists = (0..self.lists_each).map(|n| own[(first + n) % own.len()]);
                let lists = lists.map(i64::try_from).collect::<std::result::Result<Vec<_>, _>>()?;
                client.execute(&statement, &[&lists, &revision]).await?;
            }
            count.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Numbers without a pattern that matters here (xorshift).
struct Random(u64);

impl Random {
    fn new(seed: usize) -> Self {
        Self(0x9E37_79B9_7F4A_7C15 ^ ((seed as u64 + 1) << 32))
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap_or(0)
    }
}
