//! What a run knows: a reading with its arguments.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Argument, Columns, Fault, Key, KeyKind, Point, Reading, Source, Table, Term, Test};

/// What one run of a statement depended on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dependency {
    pub(crate) table: Arc<Table>,
    pub(crate) columns: Columns,
    /// Column and values. All of them must hold.
    pub(crate) keys: Vec<(String, Values)>,
}

/// The values that matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Values {
    /// These; `None` stands for NULL.
    Among(BTreeSet<Option<String>>),
    /// Those of a range, and never NULL.
    Within(Span),
}

/// A range: from where to where, each with whether the end belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) kind: KeyKind,
    pub(crate) low: Option<(Point, bool)>,
    pub(crate) high: Option<(Point, bool)>,
}

impl Values {
    /// Whether a value, as the trigger wrote it, is one of them. What is not understood may be.
    pub(crate) fn contains(&self, value: Option<&String>) -> bool {
        match (self, value) {
            (Self::Among(values), value) => values.contains(&value.cloned()),
            (Self::Within(_), None) => false,
            (Self::Within(span), Some(text)) => span.kind.point(text).is_none_or(|point| span.contains(&point)),
        }
    }
}

impl Span {
    pub(crate) fn contains(&self, point: &Point) -> bool {
        let reached = |edge: &(Point, bool), beyond: bool| beyond || (edge.1 && *point == edge.0);
        self.low.as_ref().is_none_or(|edge| reached(edge, *point > edge.0))
            && self.high.as_ref().is_none_or(|edge| reached(edge, *point < edge.0))
    }

    fn raise(&mut self, point: Point, included: bool) {
        let tighter = |(old, was): &(Point, bool)| point > *old || (point == *old && *was && !included);
        if self.low.as_ref().is_none_or(tighter) {
            self.low = Some((point, included));
        }
    }

    fn lower(&mut self, point: Point, included: bool) {
        let tighter = |(old, was): &(Point, bool)| point < *old || (point == *old && *was && !included);
        if self.high.as_ref().is_none_or(tighter) {
            self.high = Some((point, included));
        }
    }
}

impl Reading {
    /// What the statement reads with these arguments.
    pub(crate) fn bind(&self, arguments: &[Argument]) -> Vec<Dependency> {
        self.sources.iter().filter_map(|source| source.bind(arguments)).collect()
    }
}

/// The values of an argument, when they are known.
enum Bound {
    Known(Vec<Option<String>>),
    Unknown,
}

impl Term {
    fn bind(&self, kind: KeyKind, arguments: &[Argument]) -> Bound {
        let argument = |n: &usize| arguments.get(*n);
        match self {
            Self::Null if Fault::NullKey.is_planted() => Bound::Known(Vec::new()),
            Self::Null => Bound::Known(vec![None]),
            Self::Literal(text) => Bound::Known(vec![Some(text.clone())]),
            Self::Argument(n) | Self::ArgumentOrNull(n) => match argument(n) {
                Some(Argument::Null) if matches!(self, Self::ArgumentOrNull(_)) => Bound::Known(vec![None]),
                // Nothing equals NULL, and nothing is more or less.
                Some(Argument::Null) => Bound::Known(Vec::new()),
                Some(Argument::One(of, value)) if *of == kind => Bound::Known(vec![Some(value.clone())]),
                _ => Bound::Unknown,
            },
            Self::Elements(n) => match argument(n) {
                Some(Argument::Null) => Bound::Known(Vec::new()),
                Some(Argument::Many(of, list)) if *of == kind => {
                    let taken = if Fault::AnyArray.is_planted() { 1 } else { list.len() };
                    Bound::Known(list.iter().take(taken).cloned().map(Some).collect())
                }
                _ => Bound::Unknown,
            },
        }
    }
}

impl Source {
    /// `None` when no row can matter: `column = NULL` is never true.
    fn bind(&self, arguments: &[Argument]) -> Option<Dependency> {
        let mut keys: Vec<(String, Values)> = Vec::new();
        let mut spans: BTreeMap<&str, Span> = BTreeMap::new();
        for Key { column, kind, test } in &self.keys {
            match test {
                Test::Among(terms) => {
                    let mut values = BTreeSet::new();
                    let mut known = true;
                    for term in terms {
                        match term.bind(*kind, arguments) {
                            Bound::Known(some) => values.extend(some),
                            Bound::Unknown => known = false,
                        }
                    }
                    match values.is_empty() {
                        _ if !known => {}
                        true => return None,
                        false => keys.push((column.clone(), Values::Among(values))),
                    }
                }
                Test::Above { than, included } | Test::Below { than, included } => {
                    let Bound::Known(values) = than.bind(*kind, arguments) else { continue };
                    let text = values.into_iter().next().flatten()?;
                    let Some(point) = kind.point(&text) else { continue };
                    let included = *included && !Fault::RangeBound.is_planted();
                    let span = spans.entry(column).or_insert(Span { kind: *kind, low: None, high: None });
                    match test {
                        Test::Above { .. } => span.raise(point, included),
                        _ => span.lower(point, included),
                    }
                }
            }
        }
        keys.extend(spans.into_iter().map(|(column, span)| (column.to_owned(), Values::Within(span))));
        Some(Dependency { table: self.table.clone(), columns: self.columns.clone(), keys })
    }
}
