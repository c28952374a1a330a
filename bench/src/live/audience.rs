//! A thousand clients, of whom each subscribes to one list.

use std::time::{Duration, Instant};

use super::LISTS;
use super::fleet::Fleet;
use super::history::{self, Told, Verdict};
use super::node::Node;
use super::socket::Door;
use super::wire::{StateId, States};
use super::writers::{self, Paced};
use crate::Result;
use crate::cpu::Used;

/// How long after the last write a client may still be told of it, before that counts as missing.
const SETTLED: Duration = Duration::from_secs(4);

/// How long first results may take.
const FIRST: Duration = Duration::from_secs(30);

/// What a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speech {
    Forge,
    /// The protocol `graphql-ws` of `subscriptions-transport-ws`.
    Graphql,
}

impl Speech {
    fn subscribe(self, list: usize) -> String {
        match self {
            Self::Forge => {
                format!(r#"{{"type":"subscribe","id":1,"function":"list_todos","args":{{"listId":"{list}"}}}}"#)
            }
            Self::Graphql => {
                let query = format!(
                    "subscription {{ allTodos(condition: {{listId: {list}}}, orderBy: PRIMARY_KEY_ASC) {{ nodes {{ id listId title done revision }} }} }}"
                );
                format!(r#"{{"type":"start","id":"1","payload":{{"query":"{query}"}}}}"#)
            }
        }
    }
}

/// Clients, and what each of them has been told.
#[derive(Debug)]
pub(super) struct Audience {
    fleet: Fleet,
    speech: Speech,
    states: States,
    held: Vec<Option<StateId>>,
}

/// What came of a round of writes.
#[derive(Debug)]
pub(super) struct Round {
    pub(super) verdict: Verdict,
    pub(super) writes: usize,
    /// Bytes of the values that were written, as JSON.
    pub(super) digits: usize,
    pub(super) frames: usize,
    pub(super) bytes: usize,
    /// Runs of queries, and those whose result was as before.
    pub(super) runs: f64,
    pub(super) unchanged: f64,
    /// How many cores they kept busy, and everything else did.
    pub(super) server_cores: f64,
    pub(super) postgres_cores: f64,
    pub(super) others: f64,
}

/// Whose runs and cores are counted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Meter<'a> {
    /// None for a server whose runs nobody counts.
    pub(super) node: Option<&'a Node>,
    pub(super) server: u32,
    pub(super) postgres: u32,
}

struct Reading {
    runs: f64,
    unchanged: f64,
    used: Used,
}

impl Meter<'_> {
    fn read(&self) -> Result<Reading> {
        let metric = |name| self.node.map_or(Ok(0.0), |node| node.metric(name));
        let (runs, unchanged) = (metric("live_runs_total")?, metric("live_runs_unchanged_total")?);
        Ok(Reading { runs, unchanged, used: Used::now(self.server, self.postgres)? })
    }
}

impl Audience {
    pub(super) fn open(door: Door, clients: usize, speech: Speech) -> Result<Self> {
        let mut fleet = Fleet::open(door, clients)?;
        if speech == Speech::Graphql {
            fleet.send_all(|_| r#"{"type":"connection_init","payload":{}}"#.to_owned())?;
        }
        Ok(Self { fleet, speech, states: States::default(), held: vec![None; clients] })
    }

    /// Everybody subscribes. Returns how long it takes until everybody has a result.
    pub(super) fn subscribe(&mut self) -> Result<Duration> {
        let (began, speech) = (Instant::now(), self.speech);
        self.fleet.send_all(|client| speech.subscribe(client % LISTS))?;
        let mut waiting = self.fleet.len();
        let (states, held) = (&mut self.states, &mut self.held);
        let all = self.fleet.hear(FIRST, |client, text, _| {
            if let Some(state) = read(states, speech, text, held[client])? {
                waiting -= usize::from(held[client].is_none());
                held[client] = Some(state);
            }
            Ok(waiting == 0)
        })?;
        if all { Ok(began.elapsed()) } else { Err(format!("{waiting} clients have no result within {FIRST:?}").into()) }
    }

    /// Nobody is subscribed any more, once the server has heard of it.
    pub(super) fn unsubscribe(&mut self) -> Result<()> {
        self.held.fill(None);
        self.fleet.send_all(|_| r#"{"type":"unsubscribe","id":1}"#.to_owned())
    }

    /// Watches what comes of writes, and what a server uses meanwhile.
    pub(super) fn watch(&mut self, url: &str, pace: Paced, meter: Meter) -> Result<Round> {
        let before = writers::lists(url)?;
        let (began, began_at) = (meter.read()?, Instant::now());
        let at_work = pace.begin(url);
        let mut heard = Heard::default();
        while !at_work.is_over() {
            self.hear(Duration::from_millis(20), &mut heard, |_| false)?;
        }
        let (ended, took) = (meter.read()?, began_at.elapsed());
        let writes = at_work.done()?;
        let after = writers::lists(url)?;
        self.hear(SETTLED, &mut heard, |audience| {
            let mut held = audience.held.iter().enumerate();
            held.all(|(client, held)| held.is_some_and(|held| audience.states.get(held) == &after[client % LISTS]))
        })?;
        let settled = meter.read()?;
        let used = ended.used.since(&began.used);
        let cores = |used: Duration| used.as_secs_f64() / took.as_secs_f64();
        Ok(Round {
            writes: writes.len(),
            digits: writes.iter().map(|write| format!("\"{}\"", write.revision).len()).sum(),
            verdict: history::judge(&before, writes, &heard.told, self.fleet.len(), &self.states),
            frames: heard.told.len(),
            bytes: heard.bytes,
            runs: settled.runs - began.runs,
            unchanged: settled.unchanged - began.unchanged,
            server_cores: cores(used.server),
            postgres_cores: cores(used.postgres),
            others: cores(used.others()),
        })
    }

    /// Hears for a while, or until it has heard enough.
    fn hear(&mut self, lasting: Duration, heard: &mut Heard, enough: impl Fn(&Self) -> bool) -> Result<()> {
        let until = Instant::now() + lasting;
        while Instant::now() < until && !enough(self) {
            let (states, held, speech) = (&mut self.states, &mut self.held, self.speech);
            self.fleet.hear(Duration::from_millis(20), |client, text, at| {
                if let Some(state) = read(states, speech, text, held[client])? {
                    held[client] = Some(state);
                    heard.told.push(Told { client, state, at });
                    heard.bytes += text.len();
                }
                Ok(false)
            })?;
        }
        Ok(())
    }
}

/// What all clients are told in a round.
#[derive(Debug, Default)]
struct Heard {
    told: Vec<Told>,
    bytes: usize,
}

fn read(states: &mut States, speech: Speech, text: &[u8], held: Option<StateId>) -> Result<Option<StateId>> {
    match speech {
        Speech::Forge => states.of_frame(text, held),
        Speech::Graphql => states.of_graphql(text),
    }
}
