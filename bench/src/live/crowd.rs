//! Ten thousand subscribers: what they cost while nothing happens, and how long it takes to tell all of them of one thing.

use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;

use super::figures::Figures;
use super::fleet::Fleet;
use super::node::{Node, Sink};
use super::socket::Door;
use super::writers::{block_on, connect, next_revision};
use super::{ROUNDS, Stage};
use crate::report::{Aim, Spread};
use crate::server::Server;
use crate::{Result, cpu, say};

const SUBSCRIBERS: usize = 10_000;

/// How long telling everybody may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long statements are counted while nothing happens. The server counts them a second late.
const IDLE: Duration = Duration::from_secs(6);

/// Allows this process, and those that it starts, as many open files as two connections per subscriber need, or as many as it may have.
/// Returns how many that are.
pub(super) fn raise_file_limit() -> Result<usize> {
    let wanted = 2 * SUBSCRIBERS as u64 + 2_000;
    let now = getrlimit(Resource::Nofile);
    let allowed = now.maximum.map_or(wanted, |most| most.max(now.current.unwrap_or(0)));
    let mut try_for = vec![(wanted, now.maximum.map(|most| most.max(wanted)))];
    if allowed < wanted {
        try_for.push((allowed, now.maximum));
    }
    for (current, maximum) in try_for {
        if now.current.is_none_or(|has| has >= current) {
            return Ok(usize::try_from(now.current.unwrap_or(wanted))?);
        }
        // Only root may have more than the maximum.
        if setrlimit(Resource::Nofile, Rlimit { current: Some(current), maximum }).is_ok() {
            return Ok(usize::try_from(current)?);
        }
    }
    Ok(usize::try_from(now.current.unwrap_or(0))?)
}

pub(super) fn measure(stage: &Stage, sink: Sink, files: usize, figures: &mut Figures) -> Result<()> {
    // Each has a connection to the node, and one to the raw broadcast.
    let sockets = SUBSCRIBERS.min(files.saturating_sub(1_000) / 2);
    say(&format!("\n{SUBSCRIBERS} subscribers on {sockets} connections, {}", sink.name()))?;
    let node = Node::start(stage, sink)?;
    // What the first connection of all makes is not counted.
    let mut first = Crowd::open(node.door(), 1, 1)?;
    first.until_told()?;
    node.until_following()?;
    let before = cpu::resident_bytes(node.pid())?;
    let nobody = transactions(&node)?;
    let mut crowd = Crowd::open(node.door(), sockets, SUBSCRIBERS)?;
    crowd.until_told()?;
    let idle = transactions(&node)?;
    let each = cpu::resident_bytes(node.pid())?.saturating_sub(before) as f64 / sockets as f64;
    let one = |value: f64| Spread::of(std::iter::once(value));
    figures.ratio("idle_connection_bytes", one(each), Aim::AtMost(12.0 * 1024.0))?;
    figures.figure("idle_transactions_s_1", one(nobody), Aim::None)?;
    figures.figure("idle_transactions_s_10000", one(idle), Aim::None)?;
    let most = if sink == Sink::Wal { 0.5 } else { 2.0 };
    figures.figure("idle_transactions_s_more", one((idle - nobody).max(0.0)), Aim::AtMost(most))?;
    drop(first);
    hot_row(stage, &node, &mut crowd, sockets, figures)
}

/// One row changes, and everybody is told; the same bytes by a raw broadcast, in turn.
fn hot_row(stage: &Stage, node: &Node, crowd: &mut Crowd, sockets: usize, figures: &mut Figures) -> Result<()> {
    let floors = &stage.programs.floors;
    let raw = Server::start("broadcast", stage.logs, None, |port| {
        let mut command = Command::new(floors);
        command.args(["broadcast", &port.to_string()]);
        command
    })?;
    raw.until_listening()?;
    let door = Door { address: raw.address, path: "/", protocol: "none" };
    let (mut audience, mut caller) = (Fleet::open(door, sockets)?, Fleet::open(door, 1)?);
    let (mut ours, mut theirs, mut runs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..=ROUNDS {
        let before = node.metric("live_runs_total")?;
        crowd.expect();
        let committed = block_on(async {
            let client = connect(node.url()).await?;
            client.execute("UPDATE todo SET revision = $1 WHERE id = 1", &[&next_revision()]).await?;
            Ok(Instant::now())
        })?;
        let last = crowd.until_told()?;
        ours.push(last.saturating_duration_since(committed).as_secs_f64() * 1000.0);
        runs.push(node.metric("live_runs_total")? - before);
        let (frame, began) = (String::from_utf8(crowd.frame.clone())?, Instant::now());
        caller.send(0, &frame)?;
        let (mut waiting, mut last) = (sockets, began);
        let all = audience.hear(PATIENCE, |_, text, at| {
            if text != frame.as_bytes() {
                return Err("the broadcast is not what was sent".into());
            }
            (waiting, last) = (waiting - 1, at);
            Ok(waiting == 0)
        })?;
        if !all {
            return Err(format!("the raw broadcast did not reach {waiting} of {sockets}").into());
        }
        theirs.push((last - began).as_secs_f64() * 1000.0);
    }
    // The first time, memory is made.
    let (ours, theirs) = (&ours[1..], &theirs[1..]);
    figures.figure("hot_row_ms", Spread::of(ours.iter().copied()), Aim::None)?;
    figures.figure("raw_broadcast_ms", Spread::of(theirs.iter().copied()), Aim::None)?;
    figures.figure("hot_row_runs", Spread::of(runs[1..].iter().copied()), Aim::AtMost(1.0))?;
    let ratios = ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs);
    figures.ratio("hot_row_broadcast", Spread::of(ratios), Aim::AtMost(1.5))
}

/// Subscribers of one row.
struct Crowd {
    fleet: Fleet,
    subscriptions: usize,
    /// Connections that have something to be told.
    waiting: Vec<usize>,
    /// What the last of them was told, and of how many subscriptions that is.
    frame: Vec<u8>,
    results: usize,
}

impl Crowd {
    /// Opens connections and subscribes; the subscriptions are dealt out evenly.
    fn open(door: Door, sockets: usize, subscriptions: usize) -> Result<Self> {
        let mut fleet = Fleet::open(door, sockets)?;
        for n in 0..subscriptions {
            let id = n / sockets;
            let text = format!(r#"{{"type":"subscribe","id":{id},"function":"get_todo","args":{{"id":"1"}}}}"#);
            fleet.send(n % sockets, &text)?;
        }
        let mut crowd = Self { fleet, subscriptions, waiting: Vec::new(), frame: Vec::new(), results: 0 };
        crowd.expect();
        Ok(crowd)
    }

    /// Everybody is to be told of each of their subscriptions.
    fn expect(&mut self) {
        let (sockets, subscriptions) = (self.fleet.len(), self.subscriptions);
        self.waiting = (0..sockets).map(|n| subscriptions / sockets + usize::from(n < subscriptions % sockets)).collect();
    }

    /// Waits until everybody has been told. Returns when the last one was.
    fn until_told(&mut self) -> Result<Instant> {
        let mut left: usize = self.waiting.iter().sum();
        let Self { waiting, frame, results, .. } = self;
        let mut last = Instant::now();
        let all = self.fleet.hear(PATIENCE, |n, text, at| {
            if text.starts_with(b"{\"type\":\"error\"") {
                return Err(format!("a client was told {}", String::from_utf8_lossy(text)).into());
            }
            if !text.starts_with(b"{\"type\":\"frame\"") {
                return Ok(false);
            }
            // Everybody is told the same, mostly: it is read once.
            if frame != text {
                let read: Value = serde_json::from_slice(text)?;
                *results = read["results"].as_array().map_or(0, Vec::len);
                frame.clear();
                frame.extend_from_slice(text);
            }
            let told = (*results).min(waiting[n]);
            (waiting[n], left, last) = (waiting[n] - told, left - told, at);
            Ok(left == 0)
        })?;
        if all { Ok(last) } else { Err(format!("{left} were not told within {PATIENCE:?}").into()) }
    }
}

/// Transactions per second in the node's database while nothing happens, whoever makes them.
fn transactions(node: &Node) -> Result<f64> {
    block_on(async {
        let client = connect(node.url()).await?;
        let count = async || -> Result<i64> {
            let text = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()";
            Ok(client.query_one(text, &[]).await?.get(0))
        };
        // What is told of before is not counted any more.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let (before, began) = (count().await?, Instant::now());
        tokio::time::sleep(IDLE).await;
        Ok((count().await? - before) as f64 / began.elapsed().as_secs_f64())
    })
}
