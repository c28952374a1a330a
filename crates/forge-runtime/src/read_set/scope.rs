//! One FROM with its conditions: what its names mean, and which values its rows must have to matter.
//!
//! A condition narrows an item when a row that fails it cannot take part in the result:
//!
//! - `AND`-ed in WHERE, or in the ON of an inner join: every item in that FROM, on an outer side too, as `column = value` is not true of
//!   the NULLs that stand for a missing row (`IS NULL` is: it narrows nothing where a row may be missing);
//! - in the ON of a LEFT or RIGHT join: the side that may be missing; never the side that is kept;
//! - in the ON of a FULL join: none.
//!
//! `a.x = b.y` passes conditions on, also to a sub-select that compares a column of its own with one of outside. Of alternatives (OR) each
//! is looked at by itself.

use std::ops::Range;
use std::sync::Arc;

use sqlparser::ast::{BinaryOperator, Expr, Query, TableWithJoins};

use super::analyse::Env;
use super::catalogue::Table;
use super::condition::{self, Leaf, alternatives, elements, term};
use super::kind::KeyKind;
use super::outline::folded;
use super::{Fault, Term, Test};

/// Something in a FROM.
pub(super) struct Item<'e> {
    /// None when it has none that can be named, or its name is not known.
    pub(super) alias: Option<String>,
    pub(super) of: Of<'e>,
    pub(super) columns: Vec<ItemColumn>,
    /// These are all of its columns.
    pub(super) complete: bool,
}

/// What an item is.
#[derive(Clone)]
pub(super) enum Of<'e> {
    Table(Arc<Table>),
    /// A sub-select, a view or a WITH query, and where it stands.
    Query(&'e Query, Env<'e>),
    /// A sub-select that sees the items beside it.
    Lateral(&'e Query),
    /// Joined items that have a name together.
    Joined(&'e TableWithJoins),
    /// Something that reads nothing.
    Nothing,
}

/// A column of an item.
#[derive(Debug, Clone)]
pub(super) struct ItemColumn {
    pub(super) name: String,
    /// When rows can be matched by it.
    pub(super) kind: Option<KeyKind>,
    /// Its order is known.
    pub(super) ordered: bool,
}

/// An item's column, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) item: usize,
    pub(super) column: usize,
}

/// What a name stands for.
pub(super) enum Meaning {
    Local(Place),
    /// Something of outside, if anything.
    NotHere,
    Unclear,
}

/// One FROM.
#[derive(Default)]
pub(super) struct Scope<'e> {
    pub(super) items: Vec<Item<'e>>,
    /// WHERE, and ON of inner joins, each with the items that its columns may belong to.
    pub(super) filters: Vec<(Range<usize>, &'e Expr)>,
    /// ON of outer joins, with the items that it narrows first.
    pub(super) outer: Vec<(Range<usize>, Range<usize>, &'e Expr)>,
    /// Some row may be missing and stand as NULLs.
    pub(super) has_outer: bool,
    /// USING or NATURAL: columns of two items are one.
    pub(super) merged: bool,
}

/// A scope as sub-selects see it.
#[derive(Clone, Copy)]
pub(super) struct Outer<'e> {
    pub(super) scope: &'e Scope<'e>,
    pub(super) facts: &'e Facts,
    pub(super) next: Option<&'e Outer<'e>>,
}

/// What holds of all rows that matter, in one alternative.
#[derive(Debug, Default)]
pub(super) struct Facts {
    classes: Vec<Class>,
    /// By item, what its rows must have beyond that.
    extra: Vec<(Place, Test)>,
}

/// Columns that are equal in every row that matters, and what they must be.
#[derive(Debug, Default)]
struct Class {
    places: Vec<Place>,
    tests: Vec<Test>,
}

/// What a part of a condition says.
enum Fact {
    Is(Place, Test),
    Equal(Place, Place),
}

impl Facts {
    /// What a column must be.
    pub(super) fn of_place(&self, place: Place) -> &[Test] {
        let class = self.classes.iter().find(|class| class.places.contains(&place));
        class.map_or(&[], |class| &class.tests)
    }

    /// Everything that an item's columns must be.
    pub(super) fn of_item(&self, item: usize) -> Vec<(usize, Test)> {
        let mut found: Vec<(usize, Test)> = Vec::new();
        let shared = self.classes.iter().flat_map(|class| {
            class.places.iter().flat_map(|place| class.tests.iter().map(move |test| (*place, test.clone())))
        });
        for (place, test) in shared.chain(self.extra.iter().cloned()) {
            if place.item == item && !found.contains(&(place.column, test.clone())) {
                found.push((place.column, test));
            }
        }
        found
    }

    fn class(&mut self, place: Place) -> usize {
        self.classes.iter().position(|class| class.places.contains(&place)).unwrap_or_else(|| {
            self.classes.push(Class { places: vec![place], tests: Vec::new() });
            self.classes.len() - 1
        })
    }

    fn add(&mut self, fact: Fact) {
        match fact {
            Fact::Is(place, test) => {
                let class = self.class(place);
                self.classes[class].tests.push(test);
            }
            Fact::Equal(one, other) => {
                let (to, from) = (self.class(one), self.class(other));
                if to != from {
                    let moved = std::mem::take(&mut self.classes[from]);
                    self.classes[to].places.extend(moved.places);
                    self.classes[to].tests.extend(moved.tests);
                    self.classes.swap_remove(from);
                }
            }
        }
    }
}

impl<'e> Scope<'e> {
    pub(super) fn column(&self, place: Place) -> Option<&ItemColumn> {
        self.items.get(place.item)?.columns.get(place.column)
    }

    fn kind(&self, place: Place) -> Option<KeyKind> {
        self.column(place)?.kind
    }

    /// What holds in each of the alternatives. `pushed` holds in all of them, `notes` takes what narrows nothing.
    pub(super) fn facts(&self, pushed: &[(Place, Test)], outer: Option<&Outer<'_>>, notes: &mut Vec<String>) -> Vec<Facts> {
        let mut conditions: Vec<Vec<(Range<usize>, Leaf<'e>)>> = vec![Vec::new()];
        for (visible, condition) in &self.filters {
            let parts = alternatives(condition, false);
            let parts = parts.into_iter().map(|leaves| leaves.into_iter().map(|leaf| (visible.clone(), leaf)).collect());
            conditions = condition::all(conditions, parts.collect());
        }
        conditions.into_iter().map(|leaves| self.alternative(&leaves, pushed, outer, notes)).collect()
    }

    fn alternative(
        &self,
        leaves: &[(Range<usize>, Leaf<'e>)],
        pushed: &[(Place, Test)],
        outer: Option<&Outer<'_>>,
        notes: &mut Vec<String>,
    ) -> Facts {
        let mut facts = Facts::default();
        for (place, test) in pushed {
            facts.add(Fact::Is(*place, test.clone()));
        }
        for (visible, leaf) in leaves {
            match self.leaf(*leaf, visible, outer) {
                Ok(found) => found.into_iter().for_each(|fact| facts.add(fact)),
                Err(why) => note(notes, *leaf, why),
            }
        }
        for (narrowed, visible, condition) in &self.outer {
            let parts = alternatives(condition, false);
            let [leaves] = parts.as_slice() else { continue };
            for leaf in leaves {
                let found = match self.leaf(*leaf, visible, outer) {
                    Ok(found) => found,
                    Err(why) => {
                        note(notes, *leaf, why);
                        continue;
                    }
                };
                for fact in found {
                    match fact {
                        Fact::Is(place, test) if narrowed.contains(&place.item) || Fault::OuterJoin.is_planted() => {
                            facts.extra.push((place, test));
                        }
                        Fact::Equal(one, other) => {
                            for (to, from) in [(one, other), (other, one)] {
                                if narrowed.contains(&to.item) && !narrowed.contains(&from.item) {
                                    let tests = facts.of_place(from).to_vec();
                                    facts.extra.extend(tests.into_iter().map(|test| (to, test)));
                                }
                            }
                        }
                        Fact::Is(..) => {
                            note(notes, *leaf, "it is the condition of an outer join, for the side that is kept")
                        }
                    }
                }
            }
        }
        facts
    }

    /// What a part of a condition says, or why it says nothing.
    fn leaf(&self, leaf: Leaf<'_>, visible: &Range<usize>, outer: Option<&Outer<'_>>) -> Result<Vec<Fact>, &'static str> {
        const SHAPE: &str = "it compares no column with values";
        let look = Look { scope: self, visible, outer };
        let Leaf { expr, negated } = leaf;
        match expr {
            Expr::BinaryOp { left, op, right } => {
                if let (Expr::Tuple(left), Expr::Tuple(right)) = (&**left, &**right) {
                    return look.row(left, op, right, negated);
                }
                look.compare(left, op, right, negated)
            }
            Expr::IsNotDistinctFrom(left, right) if !negated => look.not_distinct(left, right),
            Expr::IsDistinctFrom(left, right) if negated => look.not_distinct(left, right),
            Expr::InList { expr, list, negated: not } if *not == negated => {
                let (place, kind) = look.key(expr)?;
                let terms: Option<Vec<Term>> = list.iter().map(|item| term(item, kind)).collect();
                Ok(vec![Fact::Is(place, Test::Among(terms.ok_or("one of its values is not known before it runs")?))])
            }
            Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } if !negated => {
                let (place, kind) = look.key(left)?;
                let terms = elements(right, kind).ok_or("its values are not known before it runs")?;
                Ok(vec![Fact::Is(place, Test::Among(terms))])
            }
            Expr::Between { expr, negated: not, low, high } if *not == negated => {
                let low = look.compare(expr, &BinaryOperator::GtEq, low, false);
                let high = look.compare(expr, &BinaryOperator::LtEq, high, false);
                let facts: Vec<Fact> = [low, high].into_iter().flatten().flatten().collect();
                if facts.is_empty() {
                    Err("its bounds are not known, or the order of its column is not")
                } else {
                    Ok(facts)
                }
            }
            Expr::IsNull(inner) if !negated => look.is_null(inner),
            Expr::IsNotNull(inner) if negated => look.is_null(inner),
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => {
                let (place, kind) = look.key(expr)?;
                if kind != KeyKind::Bool {
                    return Err(SHAPE);
                }
                Ok(vec![Fact::Is(place, Test::Among(vec![Term::Literal((!negated).to_string())]))])
            }
            Expr::Exists { .. } | Expr::InSubquery { .. } => Err("what it reads is followed by itself"),
            _ => Err(SHAPE),
        }
    }

    /// What a name stands for, among these items.
    pub(super) fn meaning(&self, expr: &Expr, visible: &Range<usize>) -> Meaning {
        let items = || self.items.iter().enumerate().filter(|(n, _)| visible.contains(n));
        match expr {
            Expr::Nested(inner) => self.meaning(inner, visible),
            Expr::Identifier(ident) => {
                let name = folded(ident);
                let mut found = items().flat_map(|(item, of)| {
                    let columns = of.columns.iter().enumerate().filter(|(_, column)| column.name == name);
                    columns.map(move |(column, _)| Place { item, column })
                });
                match (found.next(), found.next()) {
                    (Some(place), None) => Meaning::Local(place),
                    // Two of them are one column under USING; what that is, depends on the join.
                    (Some(_), Some(_)) => Meaning::Unclear,
                    (None, _) if items().all(|(_, item)| item.complete) => Meaning::NotHere,
                    (None, _) => Meaning::Unclear,
                }
            }
            Expr::CompoundIdentifier(parts) => {
                let [qualifier, column] = parts.as_slice() else { return Meaning::Unclear };
                let (qualifier, name) = (folded(qualifier), folded(column));
                let mut named = items().filter(|(_, item)| item.alias.as_ref() == Some(&qualifier));
                match (named.next(), named.next()) {
                    (Some((item, of)), None) => {
                        let column = of.columns.iter().position(|column| column.name == name);
                        column.map_or(Meaning::Unclear, |column| Meaning::Local(Place { item, column }))
                    }
                    (None, _) if items().all(|(_, item)| item.alias.is_some()) => Meaning::NotHere,
                    _ => Meaning::Unclear,
                }
            }
            _ => Meaning::Unclear,
        }
    }
}

fn note(notes: &mut Vec<String>, leaf: Leaf<'_>, why: &str) {
    let not = if leaf.negated { "NOT " } else { "" };
    let text = format!("{not}{}: {why}", leaf.expr);
    if !notes.contains(&text) {
        notes.push(text);
    }
}

/// What a name is known to be.
enum Known {
    Here(Place),
    /// A column of outside, and what that must be.
    Outside(Vec<Test>, KeyKind),
}

/// A condition with everything that its names may mean.
struct Look<'s, 'e, 'o> {
    scope: &'s Scope<'e>,
    visible: &'s Range<usize>,
    outer: Option<&'s Outer<'o>>,
}

impl Look<'_, '_, '_> {
    fn known(&self, expr: &Expr) -> Option<Known> {
        match self.scope.meaning(expr, self.visible) {
            Meaning::Local(place) => Some(Known::Here(place)),
            Meaning::Unclear => None,
            Meaning::NotHere => self.outside(expr),
        }
    }

    /// A column of the select around this one. Where a name could mean two of them, nothing is known.
    fn outside(&self, expr: &Expr) -> Option<Known> {
        let mut found = None;
        let mut next = self.outer;
        while let Some(outer) = next {
            match outer.scope.meaning(expr, &(0..outer.scope.items.len())) {
                Meaning::Local(place) if found.is_none() => found = Some((outer, place)),
                Meaning::NotHere => {}
                Meaning::Local(_) | Meaning::Unclear => return None,
            }
            next = outer.next;
        }
        let (outer, place) = found?;
        Some(Known::Outside(outer.facts.of_place(place).to_vec(), outer.scope.kind(place)?))
    }

    /// A column of this FROM by which rows can be matched.
    fn key(&self, expr: &Expr) -> Result<(Place, KeyKind), &'static str> {
        match self.known(expr) {
            Some(Known::Here(place)) => {
                let kind = self.scope.kind(place).ok_or("equal values of its column may be written differently")?;
                Ok((place, kind))
            }
            _ => Err("it compares no column of its FROM"),
        }
    }

    fn compare(&self, left: &Expr, op: &BinaryOperator, right: &Expr, negated: bool) -> Result<Vec<Fact>, &'static str> {
        let op = match (op, negated) {
            (op, false) => op.clone(),
            (BinaryOperator::Lt, true) => BinaryOperator::GtEq,
            (BinaryOperator::LtEq, true) => BinaryOperator::Gt,
            (BinaryOperator::Gt, true) => BinaryOperator::LtEq,
            (BinaryOperator::GtEq, true) => BinaryOperator::Lt,
            (BinaryOperator::NotEq, true) => BinaryOperator::Eq,
            (_, true) => return Err("it excludes values"),
        };
        let equal = op == BinaryOperator::Eq;
        match (self.known(left), self.known(right)) {
            (Some(Known::Here(one)), Some(Known::Here(other))) if equal => {
                let (one_kind, other_kind) = (self.scope.kind(one), self.scope.kind(other));
                if one_kind.is_none() || one_kind != other_kind {
                    return Err("the types of its columns differ, or equal values of them may be written differently");
                }
                Ok(vec![Fact::Equal(one, other)])
            }
            (Some(Known::Here(place)), Some(Known::Outside(tests, kind)))
            | (Some(Known::Outside(tests, kind)), Some(Known::Here(place)))
                if equal && self.scope.kind(place) == Some(kind) =>
            {
                Ok(tests.into_iter().map(|test| Fact::Is(place, test)).collect())
            }
            (Some(Known::Here(_)), None) => self.against(left, &op, right),
            (None, Some(Known::Here(_))) => {
                let turned = match op {
                    BinaryOperator::Lt => BinaryOperator::Gt,
                    BinaryOperator::LtEq => BinaryOperator::GtEq,
                    BinaryOperator::Gt => BinaryOperator::Lt,
                    BinaryOperator::GtEq => BinaryOperator::LtEq,
                    other => other,
                };
                self.against(right, &turned, left)
            }
            _ => Err("it compares no column of its FROM with a value"),
        }
    }

    /// `column op value`.
    fn against(&self, column: &Expr, op: &BinaryOperator, value: &Expr) -> Result<Vec<Fact>, &'static str> {
        let (place, kind) = self.key(column)?;
        let term = term(value, kind).ok_or("its value is not known before it runs")?;
        let ordered = self.scope.column(place).is_some_and(|column| column.ordered);
        let test = match op {
            BinaryOperator::Eq => Test::Among(vec![term]),
            BinaryOperator::NotEq => return Err("it excludes values"),
            BinaryOperator::Gt | BinaryOperator::GtEq if ordered => {
                Test::Above { than: term, included: *op == BinaryOperator::GtEq }
            }
            BinaryOperator::Lt | BinaryOperator::LtEq if ordered => {
                Test::Below { than: term, included: *op == BinaryOperator::LtEq }
            }
            BinaryOperator::Gt | BinaryOperator::GtEq | BinaryOperator::Lt | BinaryOperator::LtEq => {
                return Err("the order of its column is known to PostgreSQL only");
            }
            _ => return Err("its operator is not followed"),
        };
        Ok(vec![Fact::Is(place, test)])
    }

    /// `(a, b) = ($1, $2)` says something about each; `(a, b) > ($1, $2)` says `a >= $1`.
    fn row(&self, left: &[Expr], op: &BinaryOperator, right: &[Expr], negated: bool) -> Result<Vec<Fact>, &'static str> {
        let (Some(first), Some(value), true) = (left.first(), right.first(), left.len() == right.len()) else {
            return Err("its rows differ in length");
        };
        match (op, negated) {
            (BinaryOperator::Eq, false) => {
                let pairs = left.iter().zip(right).map(|(left, right)| self.compare(left, op, right, false));
                Ok(pairs.flatten().flatten().collect())
            }
            (BinaryOperator::Gt | BinaryOperator::GtEq, false) | (BinaryOperator::Lt | BinaryOperator::LtEq, true) => {
                self.compare(first, &BinaryOperator::GtEq, value, false)
            }
            (BinaryOperator::Lt | BinaryOperator::LtEq, false) | (BinaryOperator::Gt | BinaryOperator::GtEq, true) => {
                self.compare(first, &BinaryOperator::LtEq, value, false)
            }
            _ => Err("it excludes values"),
        }
    }

    fn is_null(&self, inner: &Expr) -> Result<Vec<Fact>, &'static str> {
        if self.scope.has_outer {
            return Err("it is also true of a row that an outer join misses");
        }
        Ok(vec![Fact::Is(self.key(inner)?.0, Test::Among(vec![Term::Null]))])
    }

    fn not_distinct(&self, left: &Expr, right: &Expr) -> Result<Vec<Fact>, &'static str> {
        if self.scope.has_outer {
            return Err("it may also be true of a row that an outer join misses");
        }
        let (column, value) = if self.key(left).is_ok() { (left, right) } else { (right, left) };
        let (place, kind) = self.key(column)?;
        let term = match term(value, kind).ok_or("its value is not known before it runs")? {
            Term::Argument(n) => Term::ArgumentOrNull(n),
            other => other,
        };
        Ok(vec![Fact::Is(place, Test::Among(vec![term]))])
    }
}
