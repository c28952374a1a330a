//! The floor: a bare process that learns of the same writes by the same way, and does nothing with them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use super::logical::Reader;
use super::node::Sink;
use super::writers::{self, AtWork, Paced};
use crate::Result;

/// As often as a node does.
const POLL_EVERY: Duration = Duration::from_millis(20);

/// From the acknowledgement of each write to when the reader knows of it, in microseconds, the shortest first.
pub(super) fn measure(url: &str, sink: Sink, pace: Paced) -> Result<Vec<u32>> {
    let stop = Arc::new(AtomicBool::new(false));
    let (table, reader) = match sink {
        Sink::Changelog => {
            let (ready, begun) = mpsc::channel();
            let reader = AtWork::begin(poll(url.to_owned(), stop.clone(), ready));
            // What is written before it knows where to begin would be missing. It cannot be waited for when it has failed, which it says below.
            let _ = begun.recv();
            ("floor_changelog", reader)
        }
        Sink::Wal => {
            let (reader, stop) = (Reader::open(url)?, stop.clone());
            ("floor_wal", AtWork::begin(async move { reader.read(&stop) }))
        }
    };
    let writes = Paced { table, ..pace }.begin(url).done()?;
    std::thread::sleep(POLL_EVERY * 5);
    stop.store(true, Ordering::Relaxed);
    let known: HashMap<i64, Instant> = reader.done()?.into_iter().collect();
    let late = |write: &writers::Write| {
        let known = known.get(&write.revision)?;
        u32::try_from(known.saturating_duration_since(write.acknowledged).as_micros()).ok()
    };
    let mut latencies: Vec<u32> = writes.iter().filter_map(late).collect();
    if latencies.len() < writes.len() {
        return Err(format!("the bare reader missed {} writes", writes.len() - latencies.len()).into());
    }
    latencies.sort_unstable();
    Ok(latencies)
}

/// Asks a table of changes again and again. Returns each revision with when it was known.
async fn poll(url: String, stop: Arc<AtomicBool>, ready: mpsc::Sender<()>) -> Result<Vec<(i64, Instant)>> {
    let client = writers::connect(&url).await?;
    let statement = client.prepare("SELECT id, revision FROM floor_changes WHERE id > $1 ORDER BY id").await?;
    let last = client.query_one("SELECT coalesce(max(id), 0) FROM floor_changes", &[]).await?;
    let (mut last, mut known): (i64, _) = (last.get(0), Vec::new());
    ready.send(())?;
    while !stop.load(Ordering::Relaxed) {
        for row in client.query(&statement, &[&last]).await? {
            last = row.get(0);
            known.push((row.get(1), Instant::now()));
        }
        tokio::time::sleep(POLL_EVERY).await;
    }
    Ok(known)
}
