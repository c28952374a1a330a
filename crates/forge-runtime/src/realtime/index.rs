//! Whom a change concerns.
//!
//! Each dependency is filed under its table and the values or the range of one of its keys, or under the table when it has none: under the
//! one that the fewest others are filed under, so that `WHERE NOT archived AND list_id = $1` has one for each list behind one look-up, and
//! not those of all lists. A changed row costs one look-up per column that anybody matches by, however many subscriptions there are.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use super::group::GroupId;
use super::intervals::Intervals;
use crate::feed::Change;
use crate::read_set::{Columns, Dependency, Fault, KeyKind, Values};

/// Dependencies of all groups.
#[derive(Debug, Default)]
pub(crate) struct Index {
    tables: HashMap<u32, OfTable>,
}

#[derive(Debug, Default)]
struct OfTable {
    /// By column.
    keyed: HashMap<String, OfColumn>,
    unkeyed: BTreeMap<GroupId, Vec<Arc<Dependency>>>,
    /// For how many dependencies the table has which shape.
    shapes: BTreeMap<u32, usize>,
}

/// What is filed under a column.
#[derive(Debug, Default)]
struct OfColumn {
    by_value: HashMap<Option<String>, BTreeMap<GroupId, Vec<Arc<Dependency>>>>,
    by_range: HashMap<KeyKind, Intervals<(GroupId, Arc<Dependency>)>>,
}

impl OfTable {
    /// The key to file a dependency under: values before ranges, those that the fewest are filed under first, then those that the fewest
    /// changes match. Which one that is changes with what is added and removed.
    fn best<'d>(&self, dependency: &'d Dependency) -> Option<&'d (String, Values)> {
        if let [only] = &*dependency.keys {
            return Some(only);
        }
        dependency.keys.iter().min_by_key(|(column, values)| match values {
            Values::Among(values) => (0, self.keyed.get(column).map_or(0, |column| column.crowd(values)), values.len()),
            Values::Within(span) => (1, 0, usize::from(span.low.is_none()) + usize::from(span.high.is_none())),
        })
    }
}

impl Index {
    pub(crate) fn add(&mut self, group: GroupId, dependencies: &[Dependency]) {
        for dependency in dependencies {
            let table = self.tables.entry(dependency.table.oid).or_default();
            *table.shapes.entry(dependency.table.shape).or_default() += 1;
            let shared = Arc::new(dependency.clone());
            match table.best(dependency) {
                None => table.unkeyed.entry(group).or_default().push(shared),
                Some((column, Values::Among(values))) => {
                    let column = table.keyed.entry(column.clone()).or_default();
                    for value in values {
                        let of_value = column.by_value.entry(value.clone()).or_default();
                        of_value.entry(group).or_default().push(shared.clone());
                    }
                }
                Some((column, Values::Within(span))) => {
                    let column = table.keyed.entry(column.clone()).or_default();
                    column.by_range.entry(span.kind).or_default().add(span, group, (group, shared));
                }
            }
        }
    }

    /// Removes all of a group's dependencies.
    pub(super) fn remove(&mut self, group: GroupId, dependencies: &[Dependency]) {
        for dependency in dependencies {
            let Some(table) = self.tables.get_mut(&dependency.table.oid) else { continue };
            if let Some(count) = table.shapes.get_mut(&dependency.table.shape) {
                *count -= 1;
                if *count == 0 {
                    table.shapes.remove(&dependency.table.shape);
                }
            }
            if dependency.keys.is_empty() {
                table.unkeyed.remove(&group);
            }
            // Under which of them it was filed depends on what there was then.
            for (name, values) in &dependency.keys {
                if let Some(column) = table.keyed.get_mut(name) {
                    column.remove(group, values);
                    if column.by_value.is_empty() && column.by_range.is_empty() {
                        table.keyed.remove(name);
                    }
                }
            }
            if table.keyed.is_empty() && table.unkeyed.is_empty() {
                self.tables.remove(&dependency.table.oid);
            }
        }
    }

    /// Whether a change concerns anybody.
    pub(super) fn concerns(&self, change: &Change) -> bool {
        let first = |_, dependency: &Dependency| {
            if matches(dependency, change) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        self.visit(change, first).is_break()
    }

    /// Notes the groups that a change concerns.
    pub(crate) fn concerned(&self, change: &Change, found: &mut HashSet<GroupId>) {
        let each = |group, dependency: &Dependency| {
            if !found.contains(&group) && matches(dependency, change) {
                found.insert(group);
            }
            ControlFlow::Continue(())
        };
        // It visits them all.
        let _ = self.visit(change, each);
    }

    /// Visits the dependencies that a change may match, until told to stop.
    fn visit(&self, change: &Change, mut look: impl FnMut(GroupId, &Dependency) -> ControlFlow<()>) -> ControlFlow<()> {
        let Some(table) = self.tables.get(&change.table) else { return ControlFlow::Continue(()) };
        of_groups(&table.unkeyed, &mut look)?;
        let same = table.shapes.keys().all(|shape| *shape == change.shape) || Fault::ColumnType.is_planted();
        for (name, column) in &table.keyed {
            let at = change.keys.iter().position(|key| key == name);
            match (at, &change.rows) {
                (Some(at), Some(rows)) if same => {
                    let values: BTreeSet<Option<&String>> =
                        rows.iter().filter_map(|row| Some(row.get(at)?.as_ref())).collect();
                    column.of_values(&values, &mut look)?;
                }
                // All rows, or a trigger that does not know this column yet, or knows it otherwise.
                (None, Some(_)) if Fault::UnknownColumn.is_planted() => {}
                _ => column.all(&mut look)?,
            }
        }
        ControlFlow::Continue(())
    }
}

fn of_groups(
    groups: &BTreeMap<GroupId, Vec<Arc<Dependency>>>,
    look: &mut impl FnMut(GroupId, &Dependency) -> ControlFlow<()>,
) -> ControlFlow<()> {
    groups.iter().try_for_each(|(group, list)| list.iter().try_for_each(|dependency| look(*group, dependency)))
}

impl OfColumn {
    /// How many groups' dependencies are filed under these values.
    fn crowd(&self, values: &BTreeSet<Option<String>>) -> usize {
        values.iter().filter_map(|value| self.by_value.get(value)).map(BTreeMap::len).sum()
    }

    fn remove(&mut self, group: GroupId, values: &Values) {
        match values {
            Values::Among(values) => {
                for value in values {
                    if let Some(of_value) = self.by_value.get_mut(value) {
                        of_value.remove(&group);
                        if of_value.is_empty() {
                            self.by_value.remove(value);
                        }
                    }
                }
            }
            Values::Within(span) => {
                if let Some(ranges) = self.by_range.get_mut(&span.kind) {
                    ranges.remove(span, group);
                    if ranges.is_empty() {
                        self.by_range.remove(&span.kind);
                    }
                }
            }
        }
    }

    fn of_values(
        &self,
        values: &BTreeSet<Option<&String>>,
        look: &mut impl FnMut(GroupId, &Dependency) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        for value in values {
            if let Some(of_value) = self.by_value.get(&value.cloned()) {
                of_groups(of_value, look)?;
            }
            for (kind, ranges) in &self.by_range {
                let mut each = |(group, dependency): &(GroupId, Arc<Dependency>)| look(*group, dependency);
                match value.map(|text| kind.point(text)) {
                    // NULL is in no range.
                    None => {}
                    Some(Some(point)) => ranges.at(&point, &mut each)?,
                    Some(None) => ranges.all(&mut each)?,
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn all(&self, look: &mut impl FnMut(GroupId, &Dependency) -> ControlFlow<()>) -> ControlFlow<()> {
        self.by_value.values().try_for_each(|of_value| of_groups(of_value, look))?;
        let mut each = |(group, dependency): &(GroupId, Arc<Dependency>)| look(*group, dependency);
        self.by_range.values().try_for_each(|ranges| ranges.all(&mut each))
    }
}

/// Whether a change can alter what the dependency stands for.
pub(super) fn matches(dependency: &Dependency, change: &Change) -> bool {
    if dependency.table.shape != change.shape && !Fault::ColumnType.is_planted() {
        // It was written down for other columns than are known here.
        return true;
    }
    if let (Some(changed), Columns::These(read)) = (&change.columns, &dependency.columns)
        && !changed.iter().any(|column| read.contains(column))
    {
        return false;
    }
    let Some(rows) = &change.rows else { return true };
    let places: Vec<_> = dependency
        .keys
        .iter()
        .filter_map(|(column, values)| Some((change.keys.iter().position(|key| key == column)?, values)))
        .collect();
    rows.iter()
        .any(|row| places.iter().all(|(at, values)| row.get(*at).is_none_or(|value| values.contains(value.as_ref()))))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::read_set::{Point, Span, Table};

    fn dependency(columns: &[&str], keys: &[(&str, &[&str])]) -> Dependency {
        let table = Table::new(1, "t".into(), Vec::new(), 0, Vec::new());
        let values = |list: &[&str]| Values::Among(list.iter().map(|value| Some((*value).to_owned())).collect());
        Dependency {
            table: Arc::new(table),
            columns: Columns::These(Arc::new(columns.iter().map(|column| (*column).to_owned()).collect())),
            keys: keys.iter().map(|(column, list)| ((*column).to_owned(), values(list))).collect(),
        }
    }

    fn change(columns: Option<&[&str]>, keys: &[&str], rows: Option<&[&[&str]]>) -> Change {
        let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let row = |row: &&[&str]| row.iter().map(|value| Some((*value).to_owned())).collect();
        Change {
            table: 1,
            shape: Table::new(1, "t".into(), Vec::new(), 0, Vec::new()).shape,
            columns: columns.map(owned),
            keys: owned(keys),
            rows: rows.map(|rows| rows.iter().map(row).collect()),
        }
    }

    fn concerned(index: &Index, change: &Change) -> Vec<u64> {
        let mut found = HashSet::new();
        index.concerned(change, &mut found);
        let mut ids: Vec<u64> = found.into_iter().map(|id| id.0).collect();
        ids.sort_unstable();
        ids
    }

    #[test]
    fn a_change_concerns_those_whose_keys_it_has() {
        let mut index = Index::default();
        let groups = [
            (1, dependency(&["a", "title"], &[("a", &["1"])])),
            (2, dependency(&["a", "title"], &[("a", &["2", "3"])])),
            (3, dependency(&["title"], &[])),
            (4, dependency(&["a", "b", "title"], &[("a", &["1"]), ("b", &["x"])])),
        ];
        for (id, dependency) in &groups {
            index.add(GroupId(*id), std::slice::from_ref(dependency));
        }
        let row: &[&[&str]] = &[&["1", "x"]];
        assert_eq!(concerned(&index, &change(None, &["a", "b"], Some(row))), [1, 3, 4]);
        assert_eq!(concerned(&index, &change(Some(&["title"]), &["a", "b"], Some(&[&["1", "y"]]))), [1, 3]);
        assert_eq!(
            concerned(&index, &change(Some(&["a"]), &["a", "b"], Some(&[&["1", "y"], &["3", "y"]]))),
            [1, 2],
            "moved"
        );
        assert_eq!(concerned(&index, &change(Some(&["other"]), &["a", "b"], Some(row))), [0; 0], "a column nobody reads");
        assert_eq!(concerned(&index, &change(None, &["a", "b"], Some(&[&["9", "x"]]))), [3]);
        assert_eq!(concerned(&index, &change(None, &[], None)), [1, 2, 3, 4], "all rows");
        assert_eq!(
            concerned(&index, &change(None, &["b"], Some(&[&["y"]]))),
            [1, 2, 3],
            "a trigger that does not know `a` yet"
        );
        let mut altered = change(None, &["a", "b"], Some(&[&["9", "x"]]));
        altered.shape += 1;
        assert_eq!(concerned(&index, &altered), [1, 2, 3, 4], "written down for other columns");
        for (id, dependency) in &groups {
            index.remove(GroupId(*id), std::slice::from_ref(dependency));
        }
        assert!(index.tables.is_empty());
    }

    #[test]
    fn a_change_is_held_against_few_in_whatever_order_conditions_stand() {
        let mut index = Index::default();
        let mut all = Vec::new();
        for n in 0..1_000 {
            let list = n.to_string();
            let mut keys = [("archived", &["false"][..]), ("list", &[list.as_str()][..])];
            // As the next function has them.
            if n % 2 == 1 {
                keys.reverse();
            }
            all.push(dependency(&["title"], &keys));
            index.add(GroupId(n), &all[all.len() - 1..]);
        }
        let looked_at = |index: &Index, list: &str| {
            let mut count = 0;
            let ended = index.visit(&change(None, &["archived", "list"], Some(&[&["false", list]])), |_, _| {
                count += 1;
                ControlFlow::Continue(())
            });
            assert!(ended.is_continue());
            count
        };
        assert!(looked_at(&index, "700") <= 3, "{} were looked at", looked_at(&index, "700"));
        // As many as change by change what they read: where one is filed depends on the others, and it is found there again.
        for (n, one) in (0..).zip(&all) {
            index.remove(GroupId(n), std::slice::from_ref(one));
            index.add(GroupId(n), std::slice::from_ref(one));
        }
        assert!(looked_at(&index, "700") <= 3, "{} were looked at", looked_at(&index, "700"));
        assert_eq!(concerned(&index, &change(None, &["archived", "list"], Some(&[&["false", "700"]]))), [700]);
        assert!(index.concerns(&change(None, &["archived", "list"], Some(&[&["false", "700"]]))));
        assert!(!index.concerns(&change(None, &["archived", "list"], Some(&[&["true", "700"]]))));
        for (n, one) in (0..).zip(&all) {
            index.remove(GroupId(n), std::slice::from_ref(one));
        }
        assert!(index.tables.is_empty());
    }

    #[test]
    fn a_change_concerns_those_whose_range_it_is_in() {
        let mut index = Index::default();
        let of = |low: Option<i64>, high: Option<i64>, key: Option<&str>| {
            let mut one = dependency(&["n", "a"], &[]);
            let edge = |n: Option<i64>| n.map(|n| (Point::Int(n), true));
            one.keys.push(("n".into(), Values::Within(Span { kind: KeyKind::Int, low: edge(low), high: edge(high) })));
            one.keys.extend(key.map(|key| ("a".to_owned(), Values::Among([Some(key.to_owned())].into()))));
            one
        };
        let groups = [
            (1, of(Some(5), None, None)),
            (2, of(None, Some(5), None)),
            (3, of(Some(9), Some(11), None)),
            (4, of(Some(9), None, Some("x"))),
        ];
        for (id, dependency) in &groups {
            index.add(GroupId(*id), std::slice::from_ref(dependency));
        }
        let row = |n: &str, a: &str| concerned(&index, &change(None, &["n", "a"], Some(&[&[n, a]])));
        assert_eq!(row("10", "x"), [1, 3, 4]);
        assert_eq!(row("10", "y"), [1, 3]);
        assert_eq!(row("5", "x"), [1, 2]);
        assert_eq!(row("-70", "x"), [2]);
        assert_eq!(row("what", "y"), [1, 2, 3], "not understood");
        for (id, dependency) in &groups {
            index.remove(GroupId(*id), std::slice::from_ref(dependency));
        }
        assert!(index.tables.is_empty());
    }
}
