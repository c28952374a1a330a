//! A statement: its text, where it was written, and what has been learned about it.
//!
//! Every statement of an app passes through here with its arguments at hand. That is where prepared statements are
//! found again, slow ones told from fast ones, and where the read sets of live queries are taken from.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use postgres_types::Type;

/// A statement written with `sql!`: a static, made by the macro.
#[derive(Debug)]
pub struct Statement {
    text: &'static str,
    file: &'static str,
    line: u32,
    params: &'static [Param],
    shape: OnceLock<Arc<Shape>>,
}

/// A parameter of a `sql!` statement.
#[derive(Debug, Clone, Copy)]
pub struct Param {
    /// The Rust expression it was written as.
    pub name: &'static str,
    /// Its Rust type, when it was written: `{id: Uuid}`.
    pub ty: Option<&'static str>,
    /// Whether that type can be sent where the database expects this one.
    pub accepts: Option<fn(&Type) -> bool>,
}

impl Statement {
    /// Called by `sql!`.
    pub const fn new(text: &'static str, file: &'static str, line: u32, params: &'static [Param]) -> Self {
        Self { text, file, line, params, shape: OnceLock::new() }
    }

    /// The text with `$1`, `$2`, ...
    pub fn text(&self) -> &'static str {
        self.text
    }

    /// Where it stands: `file:line`.
    pub fn place(&self) -> String {
        format!("{}:{}", self.file, self.line)
    }

    pub(crate) fn file_and_line(&self) -> (&'static str, u32) {
        (self.file, self.line)
    }

    /// Its parameters, in order.
    pub fn params(&self) -> &'static [Param] {
        self.params
    }

    pub(crate) fn shape(&self) -> &Arc<Shape> {
        self.shape.get_or_init(|| Shape::with_params(self.text, self.params))
    }
}

/// What is known about a statement's text, shared by all of its executions in this process.
#[derive(Debug)]
pub(crate) struct Shape {
    /// Distinct for distinct texts; what per-connection caches are keyed by.
    pub(crate) id: u64,
    pub(crate) text: Arc<str>,
    pub(crate) verb: Verb,
    /// What its arguments are called, where that is known.
    pub(crate) params: &'static [Param],
    /// Moving average of the execution time in microseconds; meaningless while `runs` is 0.
    average_us: AtomicU64,
    runs: AtomicU32,
    /// Until when the statement stays off the shared connections after it ran into their limit.
    slow_until: Mutex<Option<Instant>>,
}

/// What a statement does, judged by its text alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    /// Reads, and touches nothing but the data: fit for a shared connection.
    Read,
    /// Reads, but also something that outlives the statement or belongs to the session (a setting, a lock, a sequence):
    /// never on a shared connection.
    ReadAlone,
    /// Changes data.
    Write,
    /// Starts or ends transactions, or changes the session: never passed through.
    Control,
}

/// How many texts are remembered. Apps have hundreds; text made at run time could be endless.
const SHAPES_MAX: usize = 10_000;

/// How long a statement that was too slow once keeps to connections of its own.
const SLOW_FOR: Duration = Duration::from_secs(60);

static SHAPES: LazyLock<Mutex<HashMap<Arc<str>, Arc<Shape>>>> = LazyLock::new(Mutex::default);
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl Shape {
    /// The shape of a text: always the same one while it is remembered.
    pub(crate) fn of(text: &str) -> Arc<Self> {
        Self::with_params(text, &[])
    }

    /// As [`of`](Self::of), with names for its arguments.
    pub(crate) fn with_params(text: &str, params: &'static [Param]) -> Arc<Self> {
        let mut shapes = SHAPES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shape) = shapes.get(text) {
            let names = |params: &'static [Param]| params.iter().map(|param| param.name);
            if params.is_empty() || names(shape.params).eq(names(params)) {
                return shape.clone();
            }
            // The same text with other arguments: its own shape, which its statement remembers.
            return Arc::new(Self::new(text.into(), params));
        }
        if shapes.len() >= SHAPES_MAX {
            // Starting afresh costs one measurement per statement in use; it is not worth an order of use.
            shapes.clear();
        }
        let text: Arc<str> = text.into();
        let shape = Arc::new(Self::new(text.clone(), params));
        shapes.insert(text, shape.clone());
        shape
    }

    fn new(text: Arc<str>, params: &'static [Param]) -> Self {
        Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            verb: Verb::of(&text),
            text,
            params,
            average_us: AtomicU64::new(0),
            runs: AtomicU32::new(0),
            slow_until: Mutex::new(None),
        }
    }

    /// Notes how long an execution took.
    pub(crate) fn measured(&self, took: Duration) {
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        // Races lose a sample now and then, which an average can bear.
        let average = match self.runs.fetch_add(1, Ordering::Relaxed) {
            0 => took,
            _ => (self.average_us.load(Ordering::Relaxed) * 7 + took) / 8,
        };
        self.average_us.store(average, Ordering::Relaxed);
    }

    /// Notes that it ran into the limit of the shared connections.
    pub(crate) fn too_slow(&self) {
        *self.slow_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + SLOW_FOR);
    }

    /// Whether it may run on a shared connection whose statements may take `limit`: only when it has been measured,
    /// and takes a small part of that on average.
    pub(crate) fn fits_shared(&self, limit: Duration) -> bool {
        if self.verb != Verb::Read || self.runs.load(Ordering::Relaxed) == 0 {
            return false;
        }
        if u128::from(self.average_us.load(Ordering::Relaxed)) * 5 > limit.as_micros() {
            return false;
        }
        let slow_until = self.slow_until.lock().unwrap_or_else(PoisonError::into_inner);
        slow_until.is_none_or(|until| Instant::now() > until)
    }
}

impl Shape {
    /// Whether a cursor can be opened for it.
    pub(crate) fn is_select(&self) -> bool {
        let first = super::lexer::first_word(&self.text).unwrap_or_default();
        self.verb != Verb::Write
            && ["select", "values", "table", "with"].iter().any(|word| first.eq_ignore_ascii_case(word))
    }
}

impl Verb {
    fn of(text: &str) -> Self {
        let words = super::lexer::words(text);
        match words.first().map(String::as_str) {
            Some("select" | "table" | "values" | "with" | "show" | "explain") => {}
            Some(
                "begin" | "start" | "commit" | "rollback" | "abort" | "end" | "savepoint" | "release" | "set" | "reset"
                | "discard" | "prepare" | "deallocate" | "listen" | "unlisten" | "copy",
            ) => return Self::Control,
            _ => return Self::Write,
        }
        let has = |list: &[&str]| words.iter().any(|word| list.contains(&word.as_str()));
        if has(&["insert", "update", "delete", "merge"]) && (words[0] == "with" || words[0] == "explain") {
            return Self::Write;
        }
        let session = |word: &String| {
            word.starts_with("pg_advisory")
                || word.starts_with("pg_try_advisory")
                || word.starts_with("lo_")
                || word.starts_with("dblink")
                || word.starts_with("pg_terminate")
                || word.starts_with("pg_cancel")
                || word.starts_with("pg_sleep")
        };
        // `SELECT .. INTO` and `FOR UPDATE` write, or lock, although they begin like a read.
        if has(&["into"]) {
            return Self::Write;
        }
        let alone = words.iter().any(session)
            || has(&["set_config", "nextval", "setval", "setseed", "currval", "lastval", "for", "show", "explain"]);
        if alone { Self::ReadAlone } else { Self::Read }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, verb: Verb) {
        assert_eq!(Verb::of(text), verb, "{text}");
    }

    #[test]
    fn statements_are_told_apart_by_their_words() {
        check("SELECT * FROM cards WHERE title = 'insert into x'", Verb::Read);
        check("  -- update\n /* delete /* nested */ */ select 1", Verb::Read);
        check("WITH x AS (SELECT 1) SELECT * FROM x", Verb::Read);
        check("WITH x AS (DELETE FROM cards RETURNING *) SELECT * FROM x", Verb::Write);
        check("SELECT \"set_config\" FROM t", Verb::Read);
        check("SELECT set_config('a', 'b', false)", Verb::ReadAlone);
        check("SELECT pg_advisory_lock(1)", Verb::ReadAlone);
        check("SELECT * FROM cards FOR UPDATE", Verb::ReadAlone);
        check("SELECT * INTO copy FROM cards", Verb::Write);
        check("SELECT $tag$ delete into $tag$, $1", Verb::Read);
        check("UPDATE cards SET title = 'x'", Verb::Write);
        check("COMMIT", Verb::Control);
        check("SET default_transaction_read_only = off", Verb::Control);
        check("", Verb::Write);
        check("$", Verb::Write);
    }

    #[test]
    fn only_what_was_measured_as_fast_is_shared() {
        let shape = Shape::of("SELECT 'only_what_was_measured'");
        let limit = Duration::from_millis(50);
        assert!(!shape.fits_shared(limit));
        shape.measured(Duration::from_millis(1));
        assert!(shape.fits_shared(limit));
        shape.too_slow();
        assert!(!shape.fits_shared(limit));
        let slow = Shape::of("SELECT 'slow on average'");
        slow.measured(Duration::from_millis(30));
        assert!(!slow.fits_shared(limit));
    }
}
