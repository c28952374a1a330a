//! What a statement reads: taken from its text, the catalogue and its arguments.
//!
//! ```text
//!  text ──outline──▶ names and words ──catalogue──▶ tables, columns, functions ──analyse──▶ Reading (once per statement)
//!                                                                Reading + arguments ──▶ Dependencies (once per run)
//! ```
//!
//! What it promises: a committed change that can alter the statement's result matches one of its dependencies. It may say too much,
//! never too little: whatever is not understood widens (to all rows of a table, to all of its columns), and what cannot be followed at
//! all (the clock, chance, functions whose reads nobody knows, materialised views) is refused with a reason. Where a statement leaves the
//! order of rows open, or which of several it takes, no order is promised either.
//!
//! A dependency is a table, the columns that matter, and the values that a row must have in some of its columns to be able to matter
//! (`board_id = $1`, `position > $2`, also through joins, sub-selects, views and WITH). Rows are matched by their old and their new values,
//! as an update can move a row into a result.
//!
//! Rooms: `outline` and `catalogue` collect what is known; `condition` takes conditions apart, `scope` says which rows of a FROM they leave,
//! `analyse` walks through the statement; `values` is what a run knows; `explain` tells people. `fault` is for tests.
//!
//! Not here: the lookup of dependencies by change (see [`crate::realtime`]).

mod analyse;
mod arguments;
mod catalogue;
mod condition;
mod explain;
mod fault;
mod kind;
mod outline;
mod scope;
mod values;

use std::collections::BTreeSet;
use std::sync::Arc;

pub(crate) use arguments::{Argument, capture};
pub(crate) use catalogue::{Catalogue, Column, Table};
pub(crate) use fault::Fault;
pub(crate) use kind::{KeyKind, Point};
pub(crate) use values::{Dependency, Span, Values};

/// What a statement reads, whatever its arguments are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) sources: Vec<Source>,
    /// What did not narrow anything, and why. For people.
    pub(crate) notes: Vec<String>,
    /// The names that lead to what is read, views included, and a mark of what each of them stood for.
    pub(crate) marks: Vec<(String, String)>,
}

/// Rows of a table that matter. A place in a statement may have several of them: a row matters when it is in one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) table: Arc<Table>,
    pub(crate) columns: Columns,
    /// All of them must hold for a row to matter.
    pub(crate) keys: Vec<Key>,
}

/// Which columns of a table matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Columns {
    All,
    These(Arc<BTreeSet<String>>),
}

/// What a column must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) column: String,
    pub(crate) kind: KeyKind,
    pub(crate) test: Test,
}

/// A condition on one value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Test {
    /// One of these.
    Among(Vec<Term>),
    /// More than this, or as much when that is included.
    Above { than: Term, included: bool },
    /// Less than this, or as much when that is included.
    Below { than: Term, included: bool },
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Term {
    /// An argument, counted from 0.
    Argument(usize),
    /// The same, where NULL is a value like others: `IS NOT DISTINCT FROM`.
    ArgumentOrNull(usize),
    /// Each element of an argument that is an array.
    Elements(usize),
    /// Written in the statement.
    Literal(String),
    /// `IS NULL`.
    Null,
}

impl Test {
    /// Whether NULL may pass.
    fn may_be_null(&self) -> bool {
        matches!(self, Self::Among(terms) if terms.iter().any(|term| matches!(term, Term::Null | Term::ArgumentOrNull(_))))
    }
}

/// Why a statement cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unfollowable(pub(crate) String);

#[cfg(test)]
mod tests;
