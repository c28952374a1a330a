//! What a statement reads: taken from its text, the catalogue and its arguments.
//!
//! ```text
//!  text ──outline──▶ names and words ──catalogue──▶ tables, columns, functions ──analyse──▶ Reading (once per statement)
//!                                                                Reading + arguments ──▶ Dependencies (once per run)
//! ```
//!
//! What it promises: a committed change that can alter the statement's result matches one of its dependencies. It may say too much,
//! never too little: whatever is not understood widens (to all rows of a table, to all of its columns), and what cannot be followed at
//! all (the clock, chance, functions whose reads nobody knows, materialised views) is refused with a reason.
//!
//! A dependency is a table, the columns that matter, and the values that a row must have in some of its columns to be able to matter
//! (`board_id = $1`, also through joins). Rows are matched by their old and their new values, as an update can move a row into a result.
//!
//! Not here: ranges (`position > $1` is all rows), and the lookup of dependencies by change (see [`crate::realtime`]).

mod analyse;
mod arguments;
mod catalogue;
mod outline;

use std::collections::BTreeSet;
use std::sync::Arc;

pub(crate) use arguments::{Argument, capture};
pub(crate) use catalogue::{Catalogue, Column, Table};

/// What a statement reads, whatever its arguments are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) sources: Vec<Source>,
}

/// One place in a statement that reads a table.
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

/// A column that must have one of some values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) column: String,
    pub(crate) kind: KeyKind,
    pub(crate) terms: Vec<Term>,
}

/// The types whose equality is that of their text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyKind {
    Int,
    Uuid,
    Text,
    Bool,
    /// By the type's oid.
    Enum(u32),
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Term {
    /// An argument, counted from 0.
    Argument(usize),
    /// Each element of an argument that is an array.
    Elements(usize),
    /// Written in the statement.
    Literal(String),
    /// `IS NULL`.
    Null,
}

/// Why a statement cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unfollowable(pub(crate) String);

/// What one run of a statement depended on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dependency {
    pub(crate) table: Arc<Table>,
    pub(crate) columns: Columns,
    /// Column and values; `None` among them stands for NULL. All of them must hold.
    pub(crate) keys: Vec<(String, BTreeSet<Option<String>>)>,
}

impl Reading {
    /// What the statement reads with these arguments.
    pub(crate) fn bind(&self, arguments: &[Argument]) -> Vec<Dependency> {
        self.sources.iter().filter_map(|source| source.bind(arguments)).collect()
    }
}

impl Source {
    /// `None` when no row can matter: `column = NULL` is never true.
    fn bind(&self, arguments: &[Argument]) -> Option<Dependency> {
        let mut keys: Vec<(String, BTreeSet<Option<String>>)> = Vec::new();
        for key in &self.keys {
            let mut values = BTreeSet::new();
            let mut known = true;
            for term in &key.terms {
                match term {
                    Term::Null => drop(values.insert(None)),
                    Term::Literal(text) => drop(values.insert(Some(text.clone()))),
                    Term::Argument(n) => match arguments.get(*n) {
                        Some(Argument::Null) => {}
                        Some(Argument::One(kind, value)) if *kind == key.kind => drop(values.insert(Some(value.clone()))),
                        _ => known = false,
                    },
                    Term::Elements(n) => match arguments.get(*n) {
                        Some(Argument::Null) => {}
                        Some(Argument::Many(kind, list)) if *kind == key.kind => {
                            values.extend(list.iter().cloned().map(Some))
                        }
                        _ => known = false,
                    },
                }
            }
            if !known {
                continue;
            }
            if values.is_empty() {
                return None;
            }
            keys.push((key.column.clone(), values));
        }
        Some(Dependency { table: self.table.clone(), columns: self.columns.clone(), keys })
    }
}

#[cfg(test)]
mod tests;
