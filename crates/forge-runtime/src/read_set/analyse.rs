//! From names to sources: which tables a statement reads, and by which values of which columns.
//!
//! A condition narrows a table when a row that fails it cannot take part in the result:
//!
//! - `AND`-ed in WHERE, or in the ON of an inner join: for every table in that FROM, on an outer side too, as `column = value` is not
//!   true of the NULLs that stand for a missing row;
//! - in the ON of a LEFT or RIGHT join: for the side that may be missing; never for the side that is kept;
//! - in the ON of a FULL join: for none.
//!
//! `a.x = b.y` passes values on. Everything else narrows nothing.

use std::collections::BTreeSet;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use sqlparser::ast::{
    BinaryOperator, Expr, JoinConstraint, JoinOperator, Select, TableFactor, TableWithJoins, UnaryOperator, Value,
    Visit as _, Visitor,
};

use super::catalogue::{Catalogue, Relation, Table};
use super::outline::{Name, Outline, folded, name};
use super::{Columns, Key, KeyKind, Source, Term, Unfollowable};

/// What a statement reads: its sources, and the definitions of the views among them.
pub(super) fn analyse(outline: &Outline, catalogue: &Catalogue) -> Result<(Vec<Source>, Vec<Arc<str>>), Unfollowable> {
    let mut walk = Walk { outline, catalogue, narrowed: Vec::new() };
    let walked: ControlFlow<()> = outline.statement.visit(&mut walk);
    debug_assert!(walked.is_continue());
    let mut narrowed = walk.narrowed;
    let (mut sources, mut views) = (Vec::new(), Vec::new());
    for name in &outline.relations {
        let cte = matches!(name.as_slice(), [one] if outline.ctes.contains(one));
        match catalogue.relations.get(name) {
            Some(Relation::Table(table)) => {
                // Places are told apart by name only, so each takes one of the sets of keys that were found for its name; a place that none
                // is left for reads all rows.
                let found = narrowed.iter().position(|(of, _)| of == name);
                // A name that may also stand for a WITH query: one of its places may be the table.
                let keys = if cte { Vec::new() } else { found.map_or_else(Vec::new, |n| narrowed.swap_remove(n).1) };
                sources.push(Source { table: table.clone(), columns: columns(outline, table), keys });
            }
            Some(Relation::View(definition)) => views.push(definition.clone()),
            Some(Relation::Unfollowable(_)) | None if cte => {}
            Some(Relation::Unfollowable(why)) => return Err(Unfollowable(why.clone())),
            None => return Err(Unfollowable(format!("there is no table {}", name.join(".")))),
        }
    }
    Ok((sources, views))
}

fn columns(outline: &Outline, table: &Table) -> Columns {
    if outline.all_columns {
        return Columns::All;
    }
    let named = table.columns.iter().filter(|column| outline.words.contains(&column.name));
    Columns::These(Arc::new(named.map(|column| column.name.clone()).collect::<BTreeSet<_>>()))
}

/// One thing in a FROM.
struct Item<'a> {
    alias: String,
    /// Its name in the statement and its table, when it is one.
    table: Option<(Name, &'a Table)>,
}

/// A column of an item.
type Place<'a> = (usize, &'a str, KeyKind);

/// Columns that are equal in every row that counts, and the terms that one of them has to equal.
#[derive(Default)]
struct Class<'a> {
    places: Vec<Place<'a>>,
    terms: Vec<Vec<Term>>,
}

struct Walk<'a> {
    outline: &'a Outline,
    catalogue: &'a Catalogue,
    /// Keys by the name of the relation, one entry for each place where it stands.
    narrowed: Vec<(Name, Vec<Key>)>,
}

impl Visitor for Walk<'_> {
    type Break = ();

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        let mut scope = Scope { items: Vec::new(), filters: Vec::new(), outer: Vec::new(), has_outer: false };
        for from in &select.from {
            self.chain(&mut scope, from);
        }
        if let Some(condition) = &select.selection {
            let all = 0..scope.items.len();
            scope.filters.push((all, condition));
        }
        self.narrowed.extend(scope.keys());
        ControlFlow::Continue(())
    }
}

impl<'a> Walk<'a> {
    /// A table and what is joined to it.
    fn chain<'e>(&self, scope: &mut Scope<'a, 'e>, from: &'e TableWithJoins) {
        let first = scope.items.len();
        self.factor(scope, &from.relation);
        for join in &from.joins {
            let right = scope.items.len();
            self.factor(scope, &join.relation);
            let end = scope.items.len();
            let on = |constraint: &'e JoinConstraint| match constraint {
                JoinConstraint::On(condition) => Some(condition),
                _ => None,
            };
            scope.has_outer |=
                !matches!(join.join_operator, JoinOperator::Join(_) | JoinOperator::Inner(_) | JoinOperator::CrossJoin(_));
            match &join.join_operator {
                JoinOperator::Join(constraint) | JoinOperator::Inner(constraint) | JoinOperator::CrossJoin(constraint) => {
                    scope.filters.extend(on(constraint).map(|condition| (first..end, condition)));
                }
                JoinOperator::Left(constraint) | JoinOperator::LeftOuter(constraint) => {
                    scope.outer.extend(on(constraint).map(|condition| (right..end, first..end, condition)));
                }
                JoinOperator::Right(constraint) | JoinOperator::RightOuter(constraint) => {
                    scope.outer.extend(on(constraint).map(|condition| (first..right, first..end, condition)));
                }
                _ => {}
            }
        }
    }

    fn factor<'e>(&self, scope: &mut Scope<'a, 'e>, factor: &'e TableFactor) {
        match factor {
            TableFactor::Table { name: object, alias, args: None, .. } => {
                let Some(name) = name(object) else { return };
                let cte = matches!(name.as_slice(), [one] if self.outline.ctes.contains(one));
                let renamed = alias.as_ref().is_some_and(|alias| !alias.columns.is_empty());
                let table = match self.catalogue.relations.get(&name) {
                    Some(Relation::Table(table)) if !cte && !renamed => Some((name.clone(), &**table)),
                    _ => None,
                };
                let alias = alias.as_ref().map(|alias| folded(&alias.name)).or_else(|| name.last().cloned());
                scope.items.push(Item { alias: alias.unwrap_or_default(), table });
            }
            TableFactor::NestedJoin { table_with_joins, alias: None } => self.chain(scope, table_with_joins),
            TableFactor::Derived { alias, .. }
            | TableFactor::Function { alias, .. }
            | TableFactor::UNNEST { alias, .. } => {
                let alias = alias.as_ref().map(|alias| folded(&alias.name)).unwrap_or_default();
                scope.items.push(Item { alias, table: None });
            }
            // An item that nothing is known about; its tables, if there are any, are read whole.
            _ => scope.items.push(Item { alias: String::new(), table: None }),
        }
    }
}

/// One FROM with its conditions. A condition comes with the items that its columns may belong to.
struct Scope<'a, 'e> {
    items: Vec<Item<'a>>,
    /// WHERE, and ON of inner joins.
    filters: Vec<(Range<usize>, &'e Expr)>,
    /// ON of outer joins, with the items that it narrows first.
    outer: Vec<(Range<usize>, Range<usize>, &'e Expr)>,
    /// Some row may be missing and stand as NULLs. `IS NULL` is true of those, so it narrows nothing then.
    has_outer: bool,
}

impl<'a> Scope<'a, '_> {
    fn keys(&self) -> Vec<(Name, Vec<Key>)> {
        let mut classes: Vec<Class<'a>> = Vec::new();
        for (visible, condition) in &self.filters {
            for leaf in leaves(condition) {
                match self.leaf(leaf, visible) {
                    Some(Leaf::Terms(place, terms)) => class(&mut classes, place).terms.push(terms),
                    Some(Leaf::Equal(one, other)) if one.2 == other.2 => merge(&mut classes, one, other),
                    _ => {}
                }
            }
        }
        let mut keys: Vec<Vec<Key>> = self.items.iter().map(|_| Vec::new()).collect();
        let mut add = |(item, column, kind): Place<'a>, terms: &[Term]| {
            let key = Key { column: column.to_owned(), kind, terms: terms.to_vec() };
            if let Some(keys) = keys.get_mut(item)
                && !keys.contains(&key)
            {
                keys.push(key);
            }
        };
        for class in &classes {
            for place in &class.places {
                class.terms.iter().for_each(|terms| add(*place, terms));
            }
        }
        for (narrowed, visible, condition) in &self.outer {
            for leaf in leaves(condition) {
                match self.leaf(leaf, visible) {
                    Some(Leaf::Terms(place, terms)) if narrowed.contains(&place.0) => add(place, &terms),
                    Some(Leaf::Equal(one, other)) if one.2 == other.2 => {
                        for (to, from) in [(one, other), (other, one)] {
                            if narrowed.contains(&to.0) && !narrowed.contains(&from.0) {
                                let found = classes.iter().find(|class| class.places.contains(&from));
                                found.iter().flat_map(|class| &class.terms).for_each(|terms| add(to, terms));
                            }
                        }
                    }
                    _ => {}
                }
            }
        }
        let named = self.items.iter().zip(keys);
        named.filter_map(|(item, keys)| item.table.as_ref().map(|(name, _)| (name.clone(), keys))).collect()
    }

    fn leaf(&self, expr: &Expr, visible: &Range<usize>) -> Option<Leaf<'a>> {
        match expr {
            Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => {
                match (self.place(left, visible), self.place(right, visible)) {
                    (Some(one), Some(other)) => Some(Leaf::Equal(one, other)),
                    (Some(place), None) => Some(Leaf::Terms(place, vec![term(right, place.2)?])),
                    (None, Some(place)) => Some(Leaf::Terms(place, vec![term(left, place.2)?])),
                    (None, None) => None,
                }
            }
            Expr::InList { expr, list, negated: false } => {
                let place = self.place(expr, visible)?;
                let terms: Option<Vec<Term>> = list.iter().map(|item| term(item, place.2)).collect();
                Some(Leaf::Terms(place, terms?))
            }
            Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } => {
                let place = self.place(left, visible)?;
                let Term::Argument(n) = term(right, place.2)? else { return None };
                Some(Leaf::Terms(place, vec![Term::Elements(n)]))
            }
            Expr::IsNull(inner) if !self.has_outer => Some(Leaf::Terms(self.place(inner, visible)?, vec![Term::Null])),
            Expr::UnaryOp { op: UnaryOperator::Not, expr } => self.flag(expr, visible, false),
            _ => self.flag(expr, visible, true),
        }
    }

    /// A boolean column on its own.
    fn flag(&self, expr: &Expr, visible: &Range<usize>, value: bool) -> Option<Leaf<'a>> {
        let place = self.place(expr, visible)?;
        (place.2 == KeyKind::Bool).then(|| Leaf::Terms(place, vec![Term::Literal(value.to_string())]))
    }

    /// The column that an expression is, if it is one that rows can be matched by.
    fn place(&self, expr: &Expr, visible: &Range<usize>) -> Option<Place<'a>> {
        let items = self.items.iter().enumerate().filter(|(n, _)| visible.contains(n));
        let (qualifier, column) = match expr {
            Expr::Nested(inner) => return self.place(inner, visible),
            Expr::Identifier(ident) => (None, folded(ident)),
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [qualifier, column] => (Some(folded(qualifier)), folded(column)),
                _ => return None,
            },
            _ => return None,
        };
        let mut found = items.filter(|(_, item)| qualifier.as_ref().is_none_or(|alias| *alias == item.alias)).filter_map(
            |(n, item)| {
                let (_, table) = item.table.as_ref()?;
                table.column(&column).map(|column| (n, column))
            },
        );
        let (item, column) = found.next()?;
        // Two of them would be an error of the statement; nothing is narrowed by what is not certain.
        if found.next().is_some() {
            return None;
        }
        Some((item, column.name.as_str(), column.key?))
    }
}

/// A condition that says something about columns.
enum Leaf<'a> {
    Terms(Place<'a>, Vec<Term>),
    Equal(Place<'a>, Place<'a>),
}

/// The parts of a condition that all have to hold.
fn leaves(condition: &Expr) -> Vec<&Expr> {
    let (mut open, mut leaves) = (vec![condition], Vec::new());
    while let Some(expr) = open.pop() {
        match expr {
            Expr::BinaryOp { left, op: BinaryOperator::And, right } => open.extend([&**left, &**right]),
            Expr::Nested(inner) => open.push(inner),
            leaf => leaves.push(leaf),
        }
    }
    leaves
}

/// A value that is known when the statement runs.
fn term(expr: &Expr, kind: KeyKind) -> Option<Term> {
    match expr {
        Expr::Nested(inner) => term(inner, kind),
        // The argument then has the type it is cast to, and is looked at by that.
        Expr::Cast { expr: inner, .. } => match &**inner {
            Expr::Value(value) if matches!(value.value, Value::Placeholder(_)) => term(inner, kind),
            _ => None,
        },
        Expr::Value(value) => match (&value.value, kind) {
            (Value::Placeholder(text), _) => {
                let number: usize = text.strip_prefix('$')?.parse().ok()?;
                Some(Term::Argument(number.checked_sub(1)?))
            }
            (Value::Number(digits, _), KeyKind::Int) => digits.parse::<i64>().ok().map(|n| Term::Literal(n.to_string())),
            (Value::Boolean(value), KeyKind::Bool) => Some(Term::Literal(value.to_string())),
            (Value::SingleQuotedString(text), KeyKind::Text | KeyKind::Enum(_)) => Some(Term::Literal(text.clone())),
            (Value::SingleQuotedString(text), KeyKind::Uuid) => {
                text.parse::<uuid::Uuid>().ok().map(|id| Term::Literal(id.to_string()))
            }
            _ => None,
        },
        _ => None,
    }
}

fn class<'c, 'a>(classes: &'c mut Vec<Class<'a>>, place: Place<'a>) -> &'c mut Class<'a> {
    let at = classes.iter().position(|class| class.places.contains(&place)).unwrap_or_else(|| {
        classes.push(Class { places: vec![place], terms: Vec::new() });
        classes.len() - 1
    });
    &mut classes[at]
}

fn merge<'a>(classes: &mut Vec<Class<'a>>, one: Place<'a>, other: Place<'a>) {
    class(classes, one);
    class(classes, other);
    let at = |classes: &[Class<'a>], place: Place<'a>| classes.iter().position(|class| class.places.contains(&place));
    if let (Some(to), Some(from)) = (at(classes, one), at(classes, other))
        && to != from
    {
        let moved = std::mem::take(&mut classes[from]);
        classes[to].places.extend(moved.places);
        classes[to].terms.extend(moved.terms);
        classes.swap_remove(from);
    }
}
