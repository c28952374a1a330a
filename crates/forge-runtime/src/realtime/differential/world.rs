//! One schema, its queries and what is known of them: the engine's parts, put together as the engine does.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use forge_core::Error;
use forge_core::function::Isolation;
use futures_util::Sink as _;
use futures_util::future::join_all;

use super::dice::Dice;
use super::grammar::{Grammar, Query};
use super::look::{Look, Looks, Rows};
use super::place::Place;
use super::schema::Schema;
use super::tally::Tally;
use super::writes::{How, Write, Writer};
use crate::db::transaction::{Purpose, Transaction};
use crate::db::{Answer, Shape};
use crate::feed::{Batch, Capture};
use crate::read_set::{Catalogue, Dependency, Table, capture};
use crate::realtime::group::GroupId;
use crate::realtime::index::Index;

type Outcome<T> = Result<T, String>;

/// How many queries a schema has, and how many of them are of one table by its keys.
const QUERIES: (usize, usize) = (26, 8);

/// How many batches of a feed may be gaps before it has begun.
const BEGINNING_MAX: usize = 100;

/// A schema at work.
pub(super) struct World<'a> {
    place: &'a mut Place,
    dice: Dice,
    schema: Schema,
    queries: Vec<Query>,
    /// What each depends on, once it is followed.
    dependencies: Vec<Option<Vec<Dependency>>>,
    index: Index,
    /// By which columns rows of a table are matched, for each shape that it was seen in.
    watched: HashMap<(u32, u32), BTreeSet<String>>,
    /// What the straddler has open.
    open: Option<String>,
    /// A table has changed since: what depends on it runs again whatever is written.
    altered: bool,
    looks: Looks,
    /// A number for the result of each query.
    results: Vec<String>,
    rows: Vec<Rows>,
}

impl<'a> World<'a> {
    /// # Errors
    /// When the database does not do what it is told.
    pub(super) async fn new(place: &'a mut Place, seed: u64, invalid: &mut BTreeMap<String, usize>) -> Outcome<Self> {
        let mut dice = Dice::new(seed);
        // What was prepared in the world before would be kept.
        place.database.live().get().await.map_err(failed)?.forget_statements();
        place.database.primary().get().await.map_err(failed)?.forget_statements();
        let client = &place.client;
        client
            .batch_execute(
                "SET client_min_messages = error; RESET lock_timeout; DROP SCHEMA IF EXISTS w CASCADE; CREATE SCHEMA w",
            )
            .await
            .map_err(said)?;
        let mut schema = Schema::random(&mut dice);
        // What the grammar makes is not always SQL.
        while let Err(why) = client.batch_execute(&format!("BEGIN; {}; COMMIT", schema.ddl)).await {
            *invalid.entry(said(why)).or_default() += 1;
            client.batch_execute("ROLLBACK").await.map_err(said)?;
            schema = Schema::random(&mut dice);
        }
        client.batch_execute("SET lock_timeout = '10ms'").await.map_err(said)?;
        let mut queries = Vec::new();
        while queries.len() < QUERIES.0 {
            let grammar = Grammar::new(&mut dice, &schema);
            let query = if queries.len() < QUERIES.1 { grammar.keyed() } else { grammar.any() };
            let args: Vec<&(dyn postgres_types::ToSql + Sync)> = query.args.iter().map(|arg| arg as _).collect();
            match client.query(&query.text, &args).await {
                Ok(_) => queries.push(query),
                Err(why) => *invalid.entry(said(why)).or_default() += 1,
            }
        }
        Ok(Self {
            place,
            dice,
            dependencies: vec![None; queries.len()],
            index: Index::default(),
            watched: HashMap::new(),
            open: None,
            altered: false,
            looks: Looks::new(&schema, &queries),
            results: vec![String::new(); queries.len()],
            rows: Vec::new(),
            schema,
            queries,
        })
    }

    /// Writes, and checks after each.
    pub(super) async fn run(mut self, writes: usize, tally: &mut Tally) -> Outcome<()> {
        let late = self.queries.len() / 2;
        self.follow(0..late, tally).await?;
        self.look_around().await?;
        let (mut done, mut next) = (0, late);
        while done < writes {
            if done == writes * 9 / 10 {
                self.alter().await?;
            }
            let rows: Vec<i64> = self.rows.iter().map(|rows| rows.count).collect();
            let writer = Writer { dice: &mut self.dice, schema: &self.schema, rows: &rows, queries: &self.queries };
            let mut write = writer.write();
            if !self.perform(&write).await? {
                tally.refused_writes += 1;
                continue;
            }
            done += 1;
            tally.writes += 1;
            if next < self.queries.len() && done >= writes / 5 + 2 * (next - late) && self.open.is_none() {
                // What follows now was written down for others. (A new trigger waits for open writers.)
                if self.follow(next..next + 1, tally).await? {
                    self.look_around().await?;
                }
                next += 1;
                // It may lack a column, and so concern what it should not.
                write.spares = None;
            }
            self.check(&write, tally).await?;
            if self.open.is_some() && self.dice.chance(25) {
                let text = self.open.take().unwrap_or_default();
                self.place.straddler.batch_execute("COMMIT").await.map_err(said)?;
                let late = Write { how: How::Straddling, statements: vec![text, "COMMIT".into()], spares: None };
                self.check(&late, tally).await?;
            }
        }
        if self.open.is_some() {
            self.place.straddler.batch_execute("ROLLBACK").await.map_err(said)?;
        }
        Ok(())
    }

    /// Does what the engine does when queries were run for the first time. Says whether a table is watched now that was not before: what is known of
    /// it is to be looked at anew.
    async fn follow(&mut self, some: Range<usize>, tally: &mut Tally) -> Outcome<bool> {
        let mut wanted: BTreeMap<u32, (Arc<Table>, BTreeSet<String>)> = BTreeMap::new();
        for n in some {
            let query = &self.queries[n];
            tally.shapes += 1;
            let reading = match Catalogue::read(&self.place.client, &query.text).await.map_err(failed)? {
                Ok(reading) => reading,
                Err(why) => {
                    *tally.refused.entry(why.0).or_default() += 1;
                    continue;
                }
            };
            let prepared = self.place.client.prepare(&query.text).await.map_err(said)?;
            let args: Vec<&(dyn postgres_types::ToSql + Sync)> = query.args.iter().map(|arg| arg as _).collect();
            let mut dependencies: Vec<Dependency> = Vec::new();
            for dependency in reading.bind(&capture(&args, prepared.params())) {
                if !dependencies.contains(&dependency) {
                    dependencies.push(dependency);
                }
            }
            for Dependency { table, keys, .. } in &dependencies {
                let keys: BTreeSet<String> = keys.iter().map(|(column, _)| column.clone()).collect();
                let written = self.watched.get(&(table.oid, table.shape));
                if written.is_none_or(|written| !keys.is_subset(written)) {
                    wanted.entry(table.oid).or_insert_with(|| (table.clone(), BTreeSet::new())).1.extend(keys);
                }
            }
            tally.whole += usize::from(!dependencies.is_empty() && dependencies.iter().all(|one| one.keys.is_empty()));
            self.index.add(GroupId(n as u64), &dependencies);
            self.dependencies[n] = Some(dependencies);
        }
        let mut began = false;
        for (table, keys) in wanted.into_values() {
            began |= Capture { table: &table, keys: &keys }.ensure(&self.place.client).await.map_err(failed)?;
            self.watched.entry((table.oid, table.shape)).or_default().extend(keys);
        }
        Ok(began)
    }

    /// What a table is, changes while it is followed.
    async fn alter(&mut self) -> Outcome<()> {
        self.altered = true;
        let mut keys: Vec<(String, String)> = Vec::new();
        for dependency in self.dependencies.iter().flatten().flatten() {
            keys.extend(dependency.keys.iter().map(|(column, _)| (dependency.table.name.clone(), column.clone())));
        }
        for _ in 0..8 {
            let change = match self.dice.below(4) {
                0 => format!("{} ADD COLUMN added int DEFAULT 7", self.dice.pick(&self.schema.tables).name),
                _ if keys.is_empty() => continue,
                _ => {
                    // The same numbers, written otherwise.
                    let (table, column) = self.dice.pick(&keys);
                    format!("{table} ALTER COLUMN {column} TYPE numeric(20, 2) USING {column}::text::numeric")
                }
            };
            // What a view reads cannot be changed, not everything is a number, and somebody may have the table.
            let altered = self.place.client.batch_execute(&format!("BEGIN; ALTER TABLE {change}")).await;
            let mut fits = altered.is_ok();
            for query in &self.queries {
                fits = fits && self.place.client.prepare(&query.text).await.is_ok();
            }
            self.place.client.batch_execute(if fits { "COMMIT" } else { "ROLLBACK" }).await.map_err(said)?;
            if fits {
                break;
            }
        }
        self.look_around().await
    }

    async fn perform(&mut self, write: &Write) -> Outcome<bool> {
        match &write.how {
            How::Raw | How::RolledBack => {
                let done = self.place.client.batch_execute(&write.statements.join("; ")).await;
                if done.is_err() {
                    self.place.client.batch_execute("ROLLBACK").await.map_err(said)?;
                }
                Ok(done.is_ok())
            }
            How::Mutation { inner_fails } => self.mutate(write, *inner_fails).await,
            How::Copy(lines) => {
                let sink = self.place.client.copy_in(&write.statements[0]).await.map_err(said)?;
                let mut sink = Box::pin(sink);
                let mut lines = Some(bytes::Bytes::from(lines.clone()));
                let sent = std::future::poll_fn(|context| {
                    let ready = sink.as_mut().poll_ready(context);
                    ready.map(|ready| ready.and_then(|()| sink.as_mut().start_send(lines.take().unwrap_or_default())))
                });
                if sent.await.is_err() {
                    return Ok(false);
                }
                Ok(Pin::as_mut(&mut sink).finish().await.is_ok())
            }
            How::Straddling if self.open.is_some() => Ok(false),
            How::Straddling => {
                let text = write.statements.join("; ");
                self.place.straddler.batch_execute(&text).await.map_err(said)?;
                self.open = Some(text);
                Ok(true)
            }
        }
    }

    /// As a mutation writes.
    async fn mutate(&self, write: &Write, inner_fails: bool) -> Outcome<bool> {
        let purpose = Purpose::Write {
            isolation: Isolation::Serializable,
            user_id: String::new(),
            function: "differential",
            trace_id: String::new(),
        };
        let deadline = Instant::now() + Duration::from_secs(5);
        let transaction = self.place.database.begin(purpose, deadline, false).await.map_err(failed)?;
        let run = async {
            transaction.query(&Shape::of("SET LOCAL lock_timeout = '10ms'"), &[]).await?;
            let mut statements = write.statements.iter();
            if let Some(first) = statements.next() {
                transaction.query(&Shape::of(first), &[]).await?;
            }
            for inner in statements {
                let body = async {
                    transaction.query(&Shape::of(inner), &[]).await?;
                    if inner_fails { Err(Error::internal("it failed")) } else { Ok(()) }
                };
                let inner = transaction.nested(body).await;
                if !inner_fails {
                    inner?;
                }
            }
            Ok::<(), Error>(())
        };
        if run.await.is_err() {
            transaction.rollback().await;
            return Ok(false);
        }
        Ok(transaction.commit(None, self.place.database.side()).await.is_ok())
    }

    /// Takes everything as it is.
    async fn look_around(&mut self) -> Outcome<()> {
        for _ in 0..BEGINNING_MAX {
            // The feed comes first, whatever it may have to wait for.
            let snapshot = self.place.database.begin_live(false).await.map_err(failed)?;
            let batch = self.place.feed.read(&snapshot).await.map_err(failed)?;
            let tables = snapshot.query(&self.looks.tables, &[]).await.map_err(failed)?;
            self.rows.clear();
            self.results = self.see(&snapshot, tables).await?;
            if !batch.gap {
                return Ok(());
            }
            // It has only begun.
        }
        Err("the feed does not begin".into())
    }

    /// The feed's batch, and all results, in one snapshot.
    async fn round(&mut self) -> Outcome<(Batch, Vec<String>)> {
        let snapshot = self.place.database.begin_live(false).await.map_err(failed)?;
        // Sent in this order: all is prepared.
        let (batch, tables) = futures_util::join!(self.place.feed.read(&snapshot), snapshot.query(&self.looks.tables, &[]));
        let results = self.see(&snapshot, tables.map_err(failed)?).await?;
        Ok((batch.map_err(failed)?, results))
    }

    /// All results, in a snapshot in which the tables are as told; it ends then. Those of tables that are as they were are known.
    async fn see(&mut self, snapshot: &Transaction, tables: Answer) -> Outcome<Vec<String>> {
        let rows = Rows::read(&tables).map_err(said)?;
        let changed = self.looks.of_table.iter().enumerate().filter(|(n, _)| self.rows.get(*n) != Some(&rows[*n]));
        let changed: Vec<&Look> = changed.map(|(_, look)| look).collect();
        let answers = join_all(changed.iter().map(async |look| snapshot.query(&look.shape, &look.args()).await));
        let (answers, ()) = futures_util::join!(answers, snapshot.rollback());
        let mut results = self.results.clone();
        for (look, answer) in changed.iter().zip(answers) {
            let answer = answer.map_err(failed)?;
            let row = answer.rows.first().ok_or("nothing was answered")?;
            let seen: Vec<String> = row.try_get(0).map_err(said)?;
            look.queries.iter().zip(seen).for_each(|(n, seen)| results[*n] = seen);
        }
        self.rows = rows;
        Ok(results)
    }

    /// Whoever's result changed must have been marked.
    async fn check(&mut self, write: &Write, tally: &mut Tally) -> Outcome<()> {
        let (batch, results) = self.round().await?;
        if batch.gap {
            // Everything counts as changed. That is right whatever happened, and wrong when it happens often.
            tally.gaps += 1;
            self.results = results;
            return Ok(());
        }
        let mut marked = HashSet::new();
        batch.changes.iter().for_each(|change| self.index.concerned(change, &mut marked));
        // A statement that changed too much to be written down concerns everybody who reads its table: the cap is stated.
        let capped = batch.changes.iter().any(|change| change.rows.is_none());
        let mut any = false;
        for (n, query) in self.queries.iter().enumerate() {
            if self.dependencies[n].is_none() {
                continue;
            }
            let (changed, marked) = (results[n] != self.results[n], marked.contains(&GroupId(n as u64)));
            any |= changed;
            tally.runs += usize::from(marked);
            tally.false_runs += usize::from(marked && !changed);
            if query.keyed && !self.altered && !capped {
                tally.keyed += usize::from(marked);
                tally.keyed_false += usize::from(marked && !changed);
            }
            let why = if changed && !marked {
                "a result changed and nobody noticed"
            } else if write.spares == Some(n) && marked && !self.altered && !capped {
                "a write to another key was taken for one to this"
            } else if write.how == How::RolledBack && marked {
                "what was rolled back was seen"
            } else {
                continue;
            };
            return Err(format!(
                "{why}\n\nthe query: {}\nits arguments: {:?}\nit depends on: {}\n\nthe write ({:?}): {}\n\nthe batch: {:?}\n\nthe schema:\n{}",
                query.text,
                query.args,
                self.dependencies[n].iter().flatten().map(told).collect::<Vec<_>>().join("; "),
                write.how,
                write.statements.join(";\n  "),
                batch.changes,
                self.schema.ddl,
            ));
        }
        tally.changed += usize::from(any);
        tally.spared += usize::from(write.spares.is_some());
        self.results = results;
        Ok(())
    }
}

fn told(dependency: &Dependency) -> String {
    format!("{} {:?} {:?}", dependency.table.name, dependency.columns, dependency.keys)
}

fn failed(why: Error) -> String {
    format!("{why:?}")
}

fn said(why: tokio_postgres::Error) -> String {
    why.as_db_error()
        .map_or_else(|| format!("{why:?}"), |why| format!("{}: {} ({:?})", why.code().code(), why.message(), why.where_()))
}
