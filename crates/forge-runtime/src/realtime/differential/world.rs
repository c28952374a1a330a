//! One schema, its queries and what is known of them: the engine's parts, put together as the engine does.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use forge_core::Error;
use forge_core::function::Isolation;
use forge_pg::{Options, PrivateServer, Templates, TestDatabase};
use futures_util::Sink as _;
use tokio_postgres::{Client, NoTls};

use super::datum::Arg;
use super::dice::Dice;
use super::grammar::{Grammar, Query};
use super::schema::Schema;
use super::writes::{How, Write, Writer};
use crate::config::{Config, Mode, Secret};
use crate::db::transaction::Purpose;
use crate::db::{Database, Shape};
use crate::feed::{Batch, Capture, ChangeFeed};
use crate::migrate::Migrator;
use crate::read_set::{Catalogue, Dependency, capture};
use crate::realtime::group::GroupId;
use crate::realtime::index::Index;

type Outcome<T> = Result<T, String>;

/// How many queries a schema has, and how many of them are of one table by its keys.
const QUERIES: (usize, usize) = (26, 8);

/// A database to test in.
pub(crate) struct Place {
    pub(crate) url: String,
    _database: TestDatabase,
}

impl Place {
    pub(crate) async fn make() -> Self {
        let templates = match std::env::var("FORGE_TEST_DATABASE_URL") {
            Ok(url) if !url.is_empty() => Templates::on_url(url),
            _ => {
                let workspace = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
                Templates::new(&PrivateServer::ensure(Options::test(workspace.canonicalize().unwrap())).await.unwrap())
            }
        };
        let database = templates.database("differential: an empty database", async |_| Ok(())).await.unwrap();
        let url = database.url().to_owned();
        let config = config(&url);
        Migrator::new(&config.database, &config.migrations, Vec::new()).unwrap().run(|_| {}).await.unwrap();
        let client = connect(&url).await;
        let name: String = client.query_one("SELECT quote_ident(current_database())", &[]).await.unwrap().get(0);
        let settings = [("search_path", "w, public"), ("plan_cache_mode", "force_generic_plan"), ("jit", "off")];
        for (setting, value) in settings {
            client.batch_execute(&format!("ALTER DATABASE {name} SET {setting} = {value}")).await.unwrap();
        }
        Self { url, _database: database }
    }
}

pub(crate) async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

pub(crate) fn config(url: &str) -> Config {
    let mut config = Config::defaults(Mode::Test);
    config.database.url = Some(Secret::new(url.to_owned()));
    config
}

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) writes: usize,
    refused_writes: usize,
    changed: usize,
    shapes: usize,
    whole: usize,
    refused: BTreeMap<String, usize>,
    /// What the grammar made that is no SQL.
    pub(super) invalid: BTreeMap<String, usize>,
    runs: usize,
    false_runs: usize,
    keyed: usize,
    keyed_false: usize,
    spared: usize,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |n: usize, of: usize| n as f64 * 100.0 / of.max(1) as f64;
        writeln!(
            f,
            "{} transactions ({} more were refused by the database), {:.1} % of which changed a result;",
            self.writes,
            self.refused_writes,
            part(self.changed, self.writes)
        )?;
        writeln!(
            f,
            "{} queries, {:.1} % of which fall back to whole tables; not followed: {:?};",
            self.shapes,
            part(self.whole, self.shapes),
            self.refused
        )?;
        writeln!(
            f,
            "{} re-runs, {:.1} % of which showed nothing new; of {} of keyed queries {:.2} %;",
            self.runs,
            part(self.false_runs, self.runs),
            self.keyed,
            part(self.keyed_false, self.keyed)
        )?;
        write!(f, "{} writes to other keys of a keyed query, which did not run again", self.spared)
    }
}

impl Tally {
    /// The promises that are numbers.
    pub(super) fn check(&self) {
        assert!(self.changed * 100 >= self.writes * 30, "too few writes change anything: {self}");
        assert!(self.whole * 100 <= self.shapes * 10, "too many queries fall back to whole tables: {self}");
        assert!(self.keyed_false * 100 <= self.keyed * 5, "too many re-runs of keyed queries show nothing new: {self}");
        assert!(self.spared > 0 && self.refused.values().sum::<usize>() * 20 <= self.shapes, "{self}");
        assert!(
            self.invalid.values().sum::<usize>() * 20 <= self.shapes,
            "the grammar makes too much that is no SQL: {:?}",
            self.invalid
        );
    }
}

/// A schema at work.
pub(super) struct World {
    dice: Dice,
    schema: Schema,
    queries: Vec<Query>,
    /// What each depends on, once it is followed.
    dependencies: Vec<Option<Vec<Dependency>>>,
    index: Index,
    watched: HashMap<u32, BTreeSet<String>>,
    feed: ChangeFeed,
    database: Database,
    /// Writes.
    client: Client,
    /// Has a transaction open now and then.
    straddler: Client,
    open: Option<String>,
    /// A table has changed since: what depends on it runs again whatever is written.
    altered: bool,
    look: Arc<Shape>,
    args: Vec<Arg>,
    hashes: Vec<i64>,
    rows: Vec<i64>,
}

impl World {
    pub(super) async fn new(place: &Place, seed: u64, invalid: &mut BTreeMap<String, usize>) -> Outcome<Self> {
        let mut dice = Dice::new(seed);
        let client = connect(&place.url).await;
        client
            .batch_execute("SET client_min_messages = error; DROP SCHEMA IF EXISTS w CASCADE; CREATE SCHEMA w")
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
        let config = config(&place.url);
        let database = Database::new("differential", &config.database).map_err(|why| why.to_string())?;
        let (look, args) = look(&schema, &queries);
        let mut world = Self {
            dice,
            dependencies: vec![None; queries.len()],
            index: Index::default(),
            watched: HashMap::new(),
            // Nobody reads the log here: changes are rows.
            feed: crate::feed::feed(&database, &config.reactivity).0,
            database,
            client,
            straddler: connect(&place.url).await,
            open: None,
            altered: false,
            look,
            args,
            hashes: vec![0; queries.len()],
            rows: vec![0; schema.tables.len()],
            schema,
            queries,
        };
        world.look_around().await?;
        Ok(world)
    }

    /// Writes, and checks after each.
    pub(super) async fn run(mut self, writes: usize, tally: &mut Tally) -> Outcome<()> {
        let late = self.queries.len() / 2;
        for n in 0..late {
            self.follow(n, tally).await?;
        }
        self.look_around().await?;
        let (mut done, mut next) = (0, late);
        while done < writes {
            if done == writes * 9 / 10 {
                self.alter().await?;
            }
            let writer = Writer { dice: &mut self.dice, schema: &self.schema, rows: &self.rows, queries: &self.queries };
            let mut write = writer.write();
            if !self.perform(&write).await? {
                tally.refused_writes += 1;
                continue;
            }
            done += 1;
            tally.writes += 1;
            if next < self.queries.len() && done >= writes / 5 + 2 * (next - late) && self.open.is_none() {
                // What follows now was written down for others. (A new trigger waits for open writers.)
                self.follow(next, tally).await?;
                next += 1;
                // It may lack a column, and so concern what it should not.
                write.spares = None;
            }
            self.check(&write, tally).await?;
            if self.open.is_some() && self.dice.chance(25) {
                let text = self.open.take().unwrap_or_default();
                self.straddler.batch_execute("COMMIT").await.map_err(said)?;
                let late = Write { how: How::Straddling, statements: vec![text, "COMMIT".into()], spares: None };
                self.check(&late, tally).await?;
            }
        }
        Ok(())
    }

    /// Does what the engine does when a query was run for the first time. A table that was not watched before is looked at anew.
    async fn follow(&mut self, n: usize, tally: &mut Tally) -> Outcome<()> {
        let query = &self.queries[n];
        let reading =
            match Catalogue::read(&self.client, &query.text).await.map_err(|why| format!("{why:?}\n{}", query.text))? {
                Ok(reading) => reading,
                Err(why) => {
                    *tally.refused.entry(why.0).or_default() += 1;
                    tally.shapes += 1;
                    return Ok(());
                }
            };
        let prepared = self.client.prepare(&query.text).await.map_err(said)?;
        let args: Vec<&(dyn postgres_types::ToSql + Sync)> = query.args.iter().map(|arg| arg as _).collect();
        let mut dependencies: Vec<Dependency> = Vec::new();
        for dependency in reading.bind(&capture(&args, prepared.params())) {
            if !dependencies.contains(&dependency) {
                dependencies.push(dependency);
            }
        }
        let mut began = false;
        for dependency in &dependencies {
            let mut keys: BTreeSet<String> = dependency.keys.iter().map(|(column, _)| column.clone()).collect();
            keys.extend(self.watched.get(&dependency.table.oid).into_iter().flatten().cloned());
            let capture = Capture { table: &dependency.table, keys: &keys };
            began |= capture.ensure(&self.client).await.map_err(|why| format!("{why:?}"))?;
            self.watched.insert(dependency.table.oid, keys);
        }
        tally.shapes += 1;
        tally.whole += usize::from(!dependencies.is_empty() && dependencies.iter().all(|one| one.keys.is_empty()));
        self.index.add(GroupId(n as u64), &dependencies);
        self.dependencies[n] = Some(dependencies);
        if began {
            self.look_around().await?;
        }
        Ok(())
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
            let altered = self.client.batch_execute(&format!("BEGIN; ALTER TABLE {change}")).await;
            let mut fits = altered.is_ok();
            for query in &self.queries {
                fits = fits && self.client.prepare(&query.text).await.is_ok();
            }
            self.client.batch_execute(if fits { "COMMIT" } else { "ROLLBACK" }).await.map_err(said)?;
            if fits {
                break;
            }
        }
        self.look_around().await
    }

    async fn perform(&mut self, write: &Write) -> Outcome<bool> {
        match &write.how {
            How::Raw | How::RolledBack => {
                let done = self.client.batch_execute(&write.statements.join("; ")).await;
                if done.is_err() {
                    self.client.batch_execute("ROLLBACK").await.map_err(said)?;
                }
                Ok(done.is_ok())
            }
            How::Mutation { inner_fails } => self.mutate(write, *inner_fails).await,
            How::Copy(lines) => {
                let sink = self.client.copy_in(&write.statements[0]).await.map_err(said)?;
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
                self.straddler.batch_execute(&text).await.map_err(said)?;
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
        let transaction = self.database.begin(purpose, deadline, false).await.map_err(|why| format!("{why:?}"))?;
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
        Ok(transaction.commit(None, self.database.side()).await.is_ok())
    }

    /// Takes everything as it is.
    async fn look_around(&mut self) -> Outcome<()> {
        (_, self.hashes) = self.round().await?;
        Ok(())
    }

    /// The feed's batch, and all results, in one snapshot.
    async fn round(&mut self) -> Outcome<(Batch, Vec<i64>)> {
        let failed = |why: Error| format!("{why:?}");
        let snapshot = self.database.begin_live(false).await.map_err(failed)?;
        let batch = self.feed.read(&snapshot).await.map_err(failed)?;
        let args: Vec<&(dyn postgres_types::ToSql + Sync)> = self.args.iter().map(|arg| arg as _).collect();
        let answer = snapshot.query(&self.look, &args).await.map_err(failed)?;
        snapshot.rollback().await;
        let row = answer.rows.first().ok_or("nothing was answered")?;
        self.rows = row.try_get(1).map_err(said)?;
        Ok((batch, row.try_get(0).map_err(said)?))
    }

    /// Whoever's result changed must have been marked.
    async fn check(&mut self, write: &Write, tally: &mut Tally) -> Outcome<()> {
        let (batch, hashes) = self.round().await?;
        if batch.gap {
            return Err("the feed has a gap".into());
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
            let (changed, marked) = (hashes[n] != self.hashes[n], marked.contains(&GroupId(n as u64)));
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
        self.hashes = hashes;
        Ok(())
    }
}

fn told(dependency: &Dependency) -> String {
    format!("{} {:?} {:?}", dependency.table.name, dependency.columns, dependency.keys)
}

fn said(why: tokio_postgres::Error) -> String {
    why.as_db_error()
        .map_or_else(|| format!("{why:?}"), |why| format!("{}: {} ({:?})", why.code().code(), why.message(), why.where_()))
}

/// One statement for all results: a number for each, and the number of each table's rows.
fn look(schema: &Schema, queries: &[Query]) -> (Arc<Shape>, Vec<Arg>) {
    let mut args: Vec<Arg> = Vec::new();
    let results: Vec<String> = queries
        .iter()
        .map(|query| {
            let text = shifted(&query.text, args.len());
            args.extend(query.args.iter().cloned());
            let order = if query.ordered { "" } else { " ORDER BY q::text COLLATE \"C\"" };
            format!("(SELECT hashtextextended(coalesce(string_agg(q::text, '|'{order}), ''), 0) FROM ({text}) q)")
        })
        .collect();
    let counts: Vec<String> = schema.tables.iter().map(|table| format!("(SELECT count(*) FROM {})", table.name)).collect();
    let text = format!("SELECT ARRAY[{}]::bigint[], ARRAY[{}]::bigint[]", results.join(",\n"), counts.join(", "));
    (Shape::of(&text), args)
}

/// The same text, with its arguments counted from further on.
fn shifted(text: &str, by: usize) -> String {
    let mut parts = text.split('$');
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(part.len());
        let number: usize = part[..digits].parse().unwrap_or(0);
        whole.push_str(&format!("${}{}", number + by, &part[digits..]));
    }
    whole
}
