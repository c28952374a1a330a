//! The walk through a statement: every table in it, with what its rows must have to matter.
//!
//! Each place is walked in its own scope: names mean what they mean there, a WITH query hides a table of its name, a view stands for its
//! definition. What is asked of a sub-select's columns is passed into it, where that cannot change what it answers: not through LIMIT,
//! DISTINCT ON, window functions, or out of a group.

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;

use sqlparser::ast::{
    Cte, Distinct, Expr, Function, GroupByExpr, JoinConstraint, JoinOperator, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, TableAlias, TableFactor, TableWithJoins, Value, Visit, Visitor,
};

use super::catalogue::{Catalogue, Relation, Table};
use super::outline::{Outline, folded, name};
use super::scope::{Facts, Item, ItemColumn, Meaning, Of, Outer, Place, Scope};
use super::{Columns, Fault, Key, Reading, Source, Test, Unfollowable};

/// How many selects are walked at most, those of views and WITH queries once for each use. Beyond that, whole tables are read.
const SELECTS_MAX: usize = 500;

/// Where a query stands.
#[derive(Clone, Copy)]
pub(super) struct Env<'e> {
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
pub(super) fn analyse(outline: &Outline, catalogue: &Catalogue) -> Result<Reading, Unfollowable> {
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

    /// A FROM with its WHERE.
    fn scope<'e>(
        &mut self,
        from: &'e [TableWithJoins],
        selection: Option<&'e Expr>,
        env: Env<'e>,
    ) -> Result<Scope<'e>, Stop>
    where
        'c: 'e,
    {
        let mut scope = Scope::default();
        for chain in from {
            self.chain(&mut scope, chain, env)?;
        }
        if let Some(condition) = selection {
            let all = 0..scope.items.len();
            scope.filters.push((all, condition));
        }
        Ok(scope)
    }

    /// A table and what is joined to it.
    fn chain<'e>(&mut self, scope: &mut Scope<'e>, from: &'e TableWithJoins, env: Env<'e>) -> Result<(), Stop>
    where
        'c: 'e,
    {
        let first = scope.items.len();
        self.factor(scope, &from.relation, env)?;
        for join in &from.joins {
            let right = scope.items.len();
            self.factor(scope, &join.relation, env)?;
            let end = scope.items.len();
            let mut on = |constraint: &'e JoinConstraint| match constraint {
                JoinConstraint::On(condition) => Some(condition),
                JoinConstraint::Using(_) | JoinConstraint::Natural => {
                    scope.merged = true;
                    None
                }
                JoinConstraint::None => None,
            };
            match &join.join_operator {
                JoinOperator::Join(constraint) | JoinOperator::Inner(constraint) | JoinOperator::CrossJoin(constraint) => {
                    let on = on(constraint);
                    scope.filters.extend(on.map(|condition| (first..end, condition)));
                }
                JoinOperator::Left(constraint) | JoinOperator::LeftOuter(constraint) => {
                    let on = on(constraint);
                    scope.has_outer = true;
                    scope.outer.extend(on.map(|condition| (right..end, first..end, condition)));
                }
                JoinOperator::Right(constraint) | JoinOperator::RightOuter(constraint) => {
                    let on = on(constraint);
                    scope.has_outer = true;
                    scope.outer.extend(on.map(|condition| (first..right, first..end, condition)));
                }
                JoinOperator::FullOuter(constraint) => {
                    on(constraint);
                    scope.has_outer = true;
                }
                _ => scope.has_outer = true,
            }
        }
        Ok(())
    }

    fn factor<'e>(&mut self, scope: &mut Scope<'e>, factor: &'e TableFactor, env: Env<'e>) -> Result<(), Stop>
    where
        'c: 'e,
    {
        let item = match factor {
            TableFactor::Table { name: object, alias, args: None, .. } => {
                let Some(name) = name(object) else { return Err(unclear("a name in its FROM is not understood")) };
                let own = name.last().cloned().unwrap_or_default();
                let hidden = Fault::WithShadow.is_planted()
                    && matches!(self.catalogue.relations.get(&name), Some(Relation::Table(_)));
                let mut item = match self.cte(&name, env) {
                    Some(with) if !hidden => self.cte_item(with)?,
                    _ => self.relation(&name)?,
                };
                item.alias = Some(own);
                renamed(item, alias.as_ref())
            }
            TableFactor::NestedJoin { table_with_joins, alias: None } => return self.chain(scope, table_with_joins, env),
            // Its name hides those inside, but not from the conditions inside: nothing is known of it.
            TableFactor::NestedJoin { table_with_joins, alias: Some(_) } => {
                Item { alias: None, of: Of::Joined(table_with_joins), columns: Vec::new(), complete: false }
            }
            TableFactor::Derived { lateral, subquery, alias, .. } => {
                let (columns, complete) = self.columns_of(subquery, env)?;
                let of = if *lateral { Of::Lateral(subquery) } else { Of::Query(subquery, env) };
                renamed(Item { alias: None, of, columns, complete }, alias.as_ref())
            }
            TableFactor::Table { alias, .. } | TableFactor::Function { alias, .. } | TableFactor::UNNEST { alias, .. } => {
                renamed(Item { alias: None, of: Of::Nothing, columns: Vec::new(), complete: false }, alias.as_ref())
            }
            _ => return Err(unclear("a part of its FROM is not understood")),
        };
        scope.items.push(item);
        Ok(())
    }

    /// The WITH query that a name stands for.
    fn cte<'e>(&self, name: &[String], env: Env<'e>) -> Option<&'e With<'e>>
    where
        'c: 'e,
    {
        let [name] = name else { return None };
        let mut next = env.ctes;
        while let Some(with) = next {
            if folded(&with.cte.alias.name) == *name {
                return Some(with);
            }
            next = with.next;
        }
        None
    }

    fn cte_item<'e>(&mut self, with: &'e With<'e>) -> Result<Item<'e>, Stop>
    where
        'c: 'e,
    {
        let Some(env) = with.env else {
            return Ok(Item { alias: None, of: Of::Nothing, columns: Vec::new(), complete: false });
        };
        let (columns, complete) = self.columns_of(&with.cte.query, env)?;
        let item = Item { alias: None, of: Of::Query(&with.cte.query, env), columns, complete };
        Ok(renamed(item, Some(&with.cte.alias)))
    }

    fn relation<'e>(&mut self, name: &[String]) -> Result<Item<'e>, Stop>
    where
        'c: 'e,
    {
        let catalogue = self.catalogue;
        match catalogue.relations.get(name) {
            Some(Relation::Table(table)) => {
                let column = |column: &super::catalogue::Column| ItemColumn {
                    name: column.name.clone(),
                    kind: column.key,
                    ordered: column.ordered,
                };
                let columns = table.columns.iter().map(column).collect();
                // Beside these there are system columns, which cannot be read here (see `outline`).
                Ok(Item { alias: None, of: Of::Table(table.clone()), columns, complete: true })
            }
            Some(Relation::View(_)) if Fault::View.is_planted() => {
                Ok(Item { alias: None, of: Of::Nothing, columns: Vec::new(), complete: false })
            }
            Some(Relation::View(outline)) => {
                let env = Env { outline, ctes: None, outer: None };
                let (columns, complete) = self.columns_of(&outline.statement, env)?;
                Ok(Item { alias: None, of: Of::Query(&outline.statement, env), columns, complete })
            }
            Some(Relation::Unfollowable(why)) => Err(Stop::Unfollowable(Unfollowable(why.clone()))),
            None => Err(unclear(&format!("there is no table {}", name.join(".")))),
        }
    }

    /// The columns of a query, and whether that is all of them.
    fn columns_of<'e>(&mut self, query: &'e Query, env: Env<'e>) -> Result<(Vec<ItemColumn>, bool), Stop>
    where
        'c: 'e,
    {
        let at: *const Query = query;
        if let Some(known) = self.outputs.get(&at) {
            return Ok(known.clone());
        }
        let mut found = (Vec::new(), false);
        self.with(query, env, &mut |walk: &mut Self, env: Env<'_>| {
            found = walk.columns_of_body(&query.body, env)?;
            Ok(())
        })?;
        self.outputs.insert(at, found.clone());
        Ok(found)
    }

    fn columns_of_body<'e>(&mut self, body: &'e SetExpr, env: Env<'e>) -> Result<(Vec<ItemColumn>, bool), Stop>
    where
        'c: 'e,
    {
        match body {
            SetExpr::Select(select) => {
                let scope = self.scope(&select.from, None, env)?;
                let shown = projection(select, &scope);
                let complete = shown.is_some();
                let column = |(name, place): (String, Option<Place>)| {
                    let of = place.and_then(|place| scope.column(place));
                    let (kind, ordered) = of.map_or((None, false), |of| (of.kind, of.ordered));
                    ItemColumn { name, kind, ordered }
                };
                Ok((shown.unwrap_or_default().into_iter().map(column).collect(), complete))
            }
            SetExpr::Query(query) => self.columns_of(query, env),
            SetExpr::SetOperation { left, right, .. } => {
                let (mut columns, complete) = self.columns_of_body(left, env)?;
                let (others, known) = self.columns_of_body(right, env)?;
                for (n, column) in columns.iter_mut().enumerate() {
                    let other = others.get(n).filter(|other| known && other.kind == column.kind);
                    column.kind = column.kind.filter(|_| other.is_some());
                    column.ordered &= other.is_some_and(|other| other.ordered);
                }
                Ok((columns, complete))
            }
            _ => Ok((Vec::new(), false)),
        }
    }
}

fn unclear(why: &str) -> Stop {
    Stop::Unfollowable(Unfollowable(why.to_owned()))
}

/// An item under the names that its alias gives it.
fn renamed<'e>(mut item: Item<'e>, alias: Option<&TableAlias>) -> Item<'e> {
    if let Some(alias) = alias {
        item.alias = Some(folded(&alias.name));
        for (column, name) in item.columns.iter_mut().zip(&alias.columns) {
            column.name = folded(&name.name);
        }
    }
    item
}

/// What a select shows: names, and the columns of its FROM where they are shown as they are. None when that is not known.
fn projection(select: &Select, scope: &Scope<'_>) -> Option<Vec<(String, Option<Place>)>> {
    let all = 0..scope.items.len();
    let place = |expr: &Expr| match scope.meaning(expr, &all) {
        Meaning::Local(place) => Some(place),
        _ => None,
    };
    let columns_of = |item: usize| {
        let columns = scope.items[item].columns.iter().enumerate();
        columns.map(move |(column, of)| (of.name.clone(), Some(Place { item, column })))
    };
    let mut shown = Vec::new();
    for item in &select.projection {
        match item {
            SelectItem::UnnamedExpr(expr) => match expr {
                Expr::Identifier(ident) => shown.push((folded(ident), place(expr))),
                Expr::CompoundIdentifier(parts) => shown.push((parts.last().map(folded)?, place(expr))),
                // PostgreSQL makes up a name.
                _ => return None,
            },
            SelectItem::ExprWithAlias { expr, alias } => shown.push((folded(alias), place(expr))),
            SelectItem::Wildcard(_) if !scope.merged && scope.items.iter().all(|item| item.complete) => {
                shown.extend(all.clone().flat_map(columns_of));
            }
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(object), _) => {
                let [alias]: [String; 1] = name(object)?.try_into().ok()?;
                let mut named = all.clone().filter(|n| scope.items[*n].alias.as_ref() == Some(&alias));
                let (item, None) = (named.next()?, named.next()) else { return None };
                if !scope.items[item].complete {
                    return None;
                }
                shown.extend(columns_of(item));
            }
            _ => return None,
        }
    }
    Some(shown)
}

/// What is asked of a select's columns, where that may be asked of its FROM: of columns that are shown as they are, and when leaving rows
/// out changes nothing about the others.
fn pushable(select: &Select, scope: &Scope<'_>, pushed: &[(usize, Test)]) -> Vec<(Place, Test)> {
    if pushed.is_empty() || matches!(select.distinct, Some(Distinct::On(_))) || has_window(select) {
        return Vec::new();
    }
    let Some(shown) = projection(select, scope) else { return Vec::new() };
    let GroupByExpr::Expressions(groups, modifiers) = &select.group_by else { return Vec::new() };
    let plain = |expr: &Expr| matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Value(_));
    if !modifiers.is_empty() || !groups.iter().all(plain) {
        return Vec::new();
    }
    let all = 0..scope.items.len();
    let in_group = |n: usize, place: Place| {
        groups.iter().any(|group| match group {
            Expr::Value(value) => matches!(&value.value, Value::Number(digits, _) if *digits == (n + 1).to_string()),
            group => matches!(scope.meaning(group, &all), Meaning::Local(one) if one == place),
        })
    };
    let mut found = Vec::new();
    for (n, test) in pushed {
        let Some((_, Some(place))) = shown.get(*n) else { continue };
        // A group's rows are left out together.
        let whole = groups.is_empty() || in_group(*n, *place);
        // A row that is missing shows NULL too.
        let there = !scope.has_outer || !test.may_be_null();
        if whole && there {
            found.push((*place, test.clone()));
        }
    }
    found
}

/// Whether a select looks at rows beside the one it shows.
fn has_window(select: &Select) -> bool {
    struct Windows;
    impl Visitor for Windows {
        type Break = ();

        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            match expr {
                Expr::Function(Function { over: Some(_), .. }) => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        }
    }
    select.projection.visit(&mut Windows).is_break()
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
