//! Ranges, and which of them a value is in.
//!
//! A treap by where ranges begin, each node of which knows where the furthest one below it ends. Adding, removing and the first hit cost
//! as much as the logarithm of how many there are, each further hit about as much again.

use std::ops::ControlFlow;

use super::group::GroupId;
use crate::read_set::{Point, Span};

/// Where a range begins. Nothing comes before everything; a bound that is left out comes after the same one that belongs to it.
type Low = (Option<Point>, bool);

/// Where a range ends. The order of the variants matters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum High {
    /// At a point, and whether that belongs to it.
    At(Point, bool),
    Never,
}

impl High {
    fn reaches(&self, point: &Point) -> bool {
        match self {
            Self::At(end, included) => point < end || (*included && point == end),
            Self::Never => true,
        }
    }
}

fn begins(low: &Low, point: &Point) -> bool {
    match low {
        (None, _) => true,
        (Some(begin), left_out) => begin < point || (begin == point && !left_out),
    }
}

/// Ranges with something for each.
#[derive(Debug)]
pub(super) struct Intervals<T> {
    root: Tree<T>,
}

impl<T> Default for Intervals<T> {
    fn default() -> Self {
        Self { root: None }
    }
}

type Tree<T> = Option<Box<Node<T>>>;
type Key = (Low, GroupId);

#[derive(Debug)]
struct Node<T> {
    key: Key,
    high: High,
    item: T,
    priority: u64,
    /// The furthest end of this and all below.
    furthest: High,
    left: Tree<T>,
    right: Tree<T>,
}

impl<T> Node<T> {
    fn measure(&mut self) {
        let below = [&self.left, &self.right].into_iter().flatten().map(|node| &node.furthest);
        self.furthest = below.chain([&self.high]).max().unwrap_or(&self.high).clone();
    }
}

fn key(span: &Span, group: GroupId) -> Key {
    let low = span.low.as_ref().map_or((None, false), |(point, included)| (Some(point.clone()), !included));
    (low, group)
}

impl<T> Intervals<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    pub(super) fn add(&mut self, span: &Span, group: GroupId, item: T) {
        let key = key(span, group);
        let high = span.high.as_ref().map_or(High::Never, |(point, included)| High::At(point.clone(), *included));
        let (left, right) = split(self.root.take(), &key);
        let (furthest, priority) = (high.clone(), rand::random());
        let node = Some(Box::new(Node { key, high, item, priority, furthest, left: None, right: None }));
        self.root = join(join(left, node), right);
    }

    /// Removes all of a group's that begin where this one does.
    pub(super) fn remove(&mut self, span: &Span, group: GroupId) {
        let key = key(span, group);
        let (left, rest) = split(self.root.take(), &key);
        let (_, right) = split(rest, &(key.0, GroupId(group.0 + 1)));
        self.root = join(left, right);
    }

    /// Visits those that a point is in, until told to stop.
    pub(super) fn at<'t>(&'t self, point: &Point, found: &mut impl FnMut(&'t T) -> ControlFlow<()>) -> ControlFlow<()> {
        visit(&self.root, Some(point), found)
    }

    /// Visits all of them, until told to stop.
    pub(super) fn all<'t>(&'t self, found: &mut impl FnMut(&'t T) -> ControlFlow<()>) -> ControlFlow<()> {
        visit(&self.root, None, found)
    }
}

fn visit<'t, T>(
    tree: &'t Tree<T>,
    point: Option<&Point>,
    found: &mut impl FnMut(&'t T) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let Some(node) = tree else { return ControlFlow::Continue(()) };
    if point.is_some_and(|point| !node.furthest.reaches(point)) {
        return ControlFlow::Continue(());
    }
    visit(&node.left, point, found)?;
    if point.is_none_or(|point| begins(&node.key.0, point)) {
        if point.is_none_or(|point| node.high.reaches(point)) {
            found(&node.item)?;
        }
        visit(&node.right, point, found)?;
    }
    ControlFlow::Continue(())
}

/// What comes before a key, and the rest.
fn split<T>(tree: Tree<T>, at: &Key) -> (Tree<T>, Tree<T>) {
    let Some(mut node) = tree else { return (None, None) };
    if node.key < *at {
        let (middle, right) = split(node.right.take(), at);
        node.right = middle;
        node.measure();
        (Some(node), right)
    } else {
        let (left, middle) = split(node.left.take(), at);
        node.left = middle;
        node.measure();
        (left, Some(node))
    }
}

/// One tree of two, all of the first of which comes before the second.
fn join<T>(left: Tree<T>, right: Tree<T>) -> Tree<T> {
    match (left, right) {
        (None, one) | (one, None) => one,
        (Some(mut left), Some(mut right)) => {
            if left.priority > right.priority {
                left.right = join(left.right.take(), Some(right));
                left.measure();
                Some(left)
            } else {
                right.left = join(Some(left), right.left.take());
                right.measure();
                Some(right)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::read_set::KeyKind;

    fn found_at<T: Copy>(intervals: &Intervals<T>, point: &Point) -> Vec<T> {
        let mut found = Vec::new();
        let _ = intervals.at(point, &mut |item| {
            found.push(*item);
            ControlFlow::Continue(())
        });
        found
    }

    fn edge() -> impl Strategy<Value = Option<(Point, bool)>> {
        proptest::option::of((0..20_i64, any::<bool>()).prop_map(|(n, included)| (Point::Int(n), included)))
    }

    proptest! {
        #[test]
        fn a_point_is_in_those_that_contain_it(
            edges in proptest::collection::vec((edge(), edge()), 0..60),
            removed in proptest::collection::vec(any::<proptest::sample::Index>(), 0..20),
        ) {
            let mut spans: Vec<(u64, Span)> =
                (0..).zip(edges).map(|(n, (low, high))| (n, Span { kind: KeyKind::Int, low, high })).collect();
            let mut intervals = Intervals::default();
            for (n, span) in &spans {
                intervals.add(span, GroupId(*n), *n);
            }
            for index in removed {
                if !spans.is_empty() {
                    let (n, span) = spans.swap_remove(index.index(spans.len()));
                    intervals.remove(&span, GroupId(n));
                }
            }
            for n in -1..21 {
                let point = Point::Int(n);
                let mut want: Vec<u64> =
                    spans.iter().filter(|(_, span)| span.contains(&point)).map(|(n, _)| *n).collect();
                let mut found = found_at(&intervals, &point);
                want.sort_unstable();
                found.sort_unstable();
                prop_assert_eq!(want, found, "{}", n);
            }
            for (n, span) in &spans {
                intervals.remove(span, GroupId(*n));
            }
            prop_assert!(intervals.is_empty());
        }
    }

    #[test]
    fn a_look_up_does_not_pass_all_of_them() {
        let mut intervals = Intervals::default();
        let count = 20_000_i64;
        for n in 0..count {
            let edge = |n| Some((Point::Int(n), true));
            let span = Span { kind: KeyKind::Int, low: edge(n * 10), high: edge(n * 10 + 5) };
            intervals.add(&span, GroupId(n.unsigned_abs()), n);
        }
        fn depth<T>(tree: &Tree<T>) -> usize {
            tree.as_ref().map_or(0, |node| 1 + depth(&node.left).max(depth(&node.right)))
        }
        assert!(depth(&intervals.root) < 120, "{}", depth(&intervals.root));
        assert_eq!(found_at(&intervals, &Point::Int(70_003)), [7_000]);
    }

    #[test]
    fn a_look_up_ends_when_told_to() {
        let mut intervals = Intervals::default();
        for n in 0..100 {
            intervals.add(&Span { kind: KeyKind::Int, low: None, high: None }, GroupId(n), n);
        }
        let mut left = 3;
        let ended = intervals.all(&mut |_| {
            left -= 1;
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!((ended, left), (ControlFlow::Break(()), 0));
    }
}
