//! The walk through a statement: every table in it, with what its rows must have to matter.
//!
//! Each place is walked in its own scope: names mean what they mean there, a WITH query hides a table of its name, a view stands for its
//! definition. What is asked of a sub-select's columns is passed into it, where that cannot change what it answers: not through LIMIT,
//! DISTINCT ON, window functions, or out of a group.

mod from;
mod pushed;
mod shown;

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;

use sqlparser::ast::{Cte, Query, Select, SetExpr, TableFactor, Visit, Visitor};

use self::pushed::pushable;
use super::catalogue::{Catalogue, Relation, Table};
use super::outline::Outline;
use super::scope::{Facts, ItemColumn, Of, Outer, Scope};
use super::{Columns, Fault, Key, Reading, Source, Test, Unfollowable};

/// How many selects are walked at most, those of views and WITH queries once for each use. Beyond that, whole tables are read.
const SELECTS_MAX: usize = 500;

/// Where a query stands.
#[derive(Clone, Copy)]
pub(in crate::read_set) struct Env<'e> {
    /// Of the text that it is part of: the statement's, or a view's.
    outline: &'e Outline,
    ctes: Option<&'e With<'e>>,
    outer: Option<&'e Outer<'e>>,
}

/// A WITH query that can be named.
struct With<'e> {
    cte: &'e Cte,
    /// None where it is part of a recursion: its bodies are walked where they stand.
    env: Option<Env<'e>>,
    next: Option<&'e With<'e>>,
}

/// Why a walk ends early.
enum Stop {
    Unfollowable(Unfollowable),
    TooLarge,
}

/// What a statement reads.
pub(in crate::read_set) fn analyse(outline: &Outline, catalogue: &Catalogue) -> Result<Reading, Unfollowable> {
    let mut walk = Walk { catalogue, sources: Vec::new(), notes: Vec::new(), outputs: HashMap::new(), selects: 0 };
    let env = Env { outline, ctes: None, outer: None };
    match walk.query(&outline.statement, env, &[]) {
        Ok(()) => {}
        Err(Stop::Unfollowable(why)) => return Err(why),
        Err(Stop::TooLarge) => {
            walk.notes = vec![format!("it has more than {SELECTS_MAX} selects, so whole tables are read")];
            walk.sources = catalogue
                .relations
                .values()
                .filter_map(|relation| match relation {
                    Relation::Table(table) => {
                        Some(Source { table: table.clone(), columns: Columns::All, keys: Vec::new() })
                    }
                    _ => None,
                })
                .collect();
        }
    }
    // What is read whole needs no more to be said about.
    let whole: Vec<Source> = walk.sources.iter().filter(|source| source.keys.is_empty()).cloned().collect();
    walk.sources.retain(|one| {
        one.keys.is_empty() || !whole.iter().any(|other| other.table.oid == one.table.oid && other.columns == one.columns)
    });
    let marks = catalogue.marks.iter().map(|(name, mark)| (super::catalogue::quote(name), mark.clone())).collect();
    Ok(Reading { sources: walk.sources, notes: walk.notes, marks })
}

fn columns(outline: &Outline, table: &Table) -> Columns {
    if outline.all_columns {
        return Columns::All;
    }
    let named = table.columns.iter().filter(|column| outline.words.contains(&column.name));
    let named = named.skip(usize::from(Fault::ColumnMask.is_planted()));
    Columns::These(Arc::new(named.map(|column| column.name.clone()).collect::<BTreeSet<_>>()))
}

struct Walk<'c> {
    catalogue: &'c Catalogue,
    sources: Vec<Source>,
    notes: Vec<String>,
    /// Columns of queries, by where they are in memory; a query always stands in the same place.
    outputs: HashMap<*const Query, (Vec<ItemColumn>, bool)>,
    selects: usize,
}

impl<'c> Walk<'c> {
    /// Walks a query of whose columns something is asked, by number.
    fn query<'e>(&mut self, query: &'e Query, env: Env<'e>, pushed: &[(usize, Test)]) -> Result<(), Stop>
    where
        'c: 'e,
    {
        let limited = query.limit_clause.is_some() || query.fetch.is_some() || !query.pipe_operators.is_empty();
        let pushed = if limited && !Fault::PushThroughLimit.is_planted() {
            if !pushed.is_empty() {
                self.notes.push("what is asked of a sub-select with LIMIT is not asked of its tables".into());
            }
            &[]
        } else {
            pushed
        };
        self.with(query, env, &mut |walk: &mut Self, env: Env<'_>| {
            walk.body(&query.body, env, pushed, query)?;
            // Of ORDER BY and LIMIT; a select walks its own.
            if !matches!(*query.body, SetExpr::Select(_)) {
                walk.expressions(&query.order_by, env)?;
            }
            walk.expressions(&query.limit_clause, env)
        })
    }

    /// Does something where the WITH queries of this query can be named.
    fn with<'e>(
        &mut self,
        query: &'e Query,
        env: Env<'e>,
        then: &mut dyn FnMut(&mut Self, Env<'_>) -> Result<(), Stop>,
    ) -> Result<(), Stop>
    where
        'c: 'e,
    {
        match &query.with {
            Some(with) => self.with_these(&with.cte_tables, with.recursive, env, then),
            None => then(self, env),
        }
    }

    fn with_these<'e>(
        &mut self,
        ctes: &'e [Cte],
        recursive: bool,
        env: Env<'e>,
        then: &mut dyn FnMut(&mut Self, Env<'_>) -> Result<(), Stop>,
    ) -> Result<(), Stop>
    where
        'c: 'e,
    {
        let Some((cte, rest)) = ctes.split_first() else { return then(self, env) };
        let with = With { cte, env: (!recursive).then_some(env), next: env.ctes };
        let inside = Env { ctes: Some(&with), ..env };
        if !recursive {
            return self.with_these(rest, recursive, inside, then);
        }
        // Any of them may name any other.
        self.with_these(rest, recursive, inside, &mut |walk: &mut Self, env: Env<'_>| {
            walk.query(&cte.query, env, &[])?;
            then(walk, env)
        })
    }

    fn body<'e>(&mut self, body: &'e SetExpr, env: Env<'e>, pushed: &[(usize, Test)], of: &'e Query) -> Result<(), Stop>
    where
        'c: 'e,
    {
        match body {
            SetExpr::Select(select) => self.select(select, env, pushed, of),
            SetExpr::Query(query) => self.query(query, env, pushed),
            SetExpr::SetOperation { left, right, .. } => {
                self.body(left, env, pushed, of)?;
                self.body(right, env, pushed, of)
            }
            other => self.expressions(other, env),
        }
    }

    fn select<'e>(&mut self, select: &'e Select, env: Env<'e>, pushed: &[(usize, Test)], of: &'e Query) -> Result<(), Stop>
    where
        'c: 'e,
    {
        self.selects += 1;
        if self.selects > SELECTS_MAX {
            return Err(Stop::TooLarge);
        }
        let scope = self.scope(&select.from, select.selection.as_ref(), env)?;
        let pushed = pushable(select, &scope, pushed);
        let mut notes = std::mem::take(&mut self.notes);
        let alternatives = scope.facts(&pushed, env.outer, &mut notes);
        self.notes = notes;
        for facts in &alternatives {
            self.rows(&scope, facts, env)?;
            let outer = Outer { scope: &scope, facts, next: env.outer };
            let inside = Env { outer: Some(&outer), ..env };
            self.expressions(select, inside)?;
            if matches!(&*of.body, SetExpr::Select(own) if std::ptr::eq(&raw const **own, select)) {
                self.expressions(&of.order_by, inside)?;
            }
        }
        Ok(())
    }

    /// What the items of a FROM read, under one alternative.
    fn rows<'e>(&mut self, scope: &'e Scope<'e>, facts: &'e Facts, env: Env<'e>) -> Result<(), Stop>
    where
        'c: 'e,
    {
        for (n, item) in scope.items.iter().enumerate() {
            let asked = facts.of_item(n);
            match &item.of {
                Of::Table(table) => {
                    let key = |(column, test): (usize, Test)| {
                        let column = table.columns.get(column)?;
                        Some(Key { column: column.name.clone(), kind: column.key?, test })
                    };
                    let keys = asked.into_iter().filter_map(key).collect();
                    let source = Source { table: table.clone(), columns: columns(env.outline, table), keys };
                    if !self.sources.contains(&source) {
                        self.sources.push(source);
                    }
                }
                Of::Query(query, at) => self.query(query, *at, &asked)?,
                Of::Lateral(query) => {
                    let outer = Outer { scope, facts, next: env.outer };
                    self.query(query, Env { outer: Some(&outer), ..env }, &asked)?;
                }
                Of::Joined(joined) => {
                    let scope = self.scope(std::slice::from_ref(*joined), None, env)?;
                    for facts in &scope.facts(&[], env.outer, &mut Vec::new()) {
                        self.rows(&scope, facts, env)?;
                    }
                }
                Of::Nothing => {}
            }
        }
        Ok(())
    }

    /// Walks the sub-selects in expressions, those of a FROM left out.
    fn expressions<'e>(&mut self, of: &'e impl Visit, env: Env<'e>) -> Result<(), Stop>
    where
        'c: 'e,
    {
        let mut inner = Inner { walk: self, env, depth: 0, from: Vec::new() };
        match of.visit(&mut inner) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(stop) => Err(stop),
        }
    }
}

fn unclear(why: &str) -> Stop {
    Stop::Unfollowable(Unfollowable(why.to_owned()))
}

/// Walks the sub-selects that it meets, and nothing inside of them: the walk does.
struct Inner<'w, 'c, 'e> {
    walk: &'w mut Walk<'c>,
    env: Env<'e>,
    depth: usize,
    /// Where sub-selects of a FROM are in memory.
    from: Vec<*const Query>,
}

impl Visitor for Inner<'_, '_, '_> {
    type Break = Stop;

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Stop> {
        if let (TableFactor::Derived { subquery, .. }, 0) = (factor, self.depth) {
            self.from.push(&raw const **subquery);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Stop> {
        self.depth += 1;
        if self.depth == 1
            && !self.from.contains(&(&raw const *query))
            && let Err(stop) = self.walk.query(query, self.env, &[])
        {
            return ControlFlow::Break(stop);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<Stop> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }
}
