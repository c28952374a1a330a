//! Whom a change concerns.
//!
//! Each dependency is filed under its table and one of its keys' values, or under the table when it has none. A changed row costs one
//! look-up per column that anybody matches by, however many subscriptions there are.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::group::GroupId;
use crate::feed::Change;
use crate::read_set::{Columns, Dependency};

/// Dependencies of all groups.
#[derive(Debug, Default)]
pub(crate) struct Index {
    tables: HashMap<u32, OfTable>,
}

#[derive(Debug, Default)]
struct OfTable {
    /// By column.
    keyed: HashMap<String, ByValue>,
    unkeyed: Vec<(GroupId, Dependency)>,
}

type ByValue = HashMap<Option<String>, Vec<(GroupId, Dependency)>>;

impl Index {
    pub(crate) fn add(&mut self, group: GroupId, dependencies: &[Dependency]) {
        for dependency in dependencies {
            let table = self.tables.entry(dependency.table.oid).or_default();
            // The key with the fewest values is the one that the fewest changes match.
            match dependency.keys.iter().min_by_key(|(_, values)| values.len()) {
                None => table.unkeyed.push((group, dependency.clone())),
                Some((column, values)) => {
                    let by_value = table.keyed.entry(column.clone()).or_default();
                    for value in values {
                        by_value.entry(value.clone()).or_default().push((group, dependency.clone()));
                    }
                }
            }
        }
    }

    pub(super) fn remove(&mut self, group: GroupId, dependencies: &[Dependency]) {
        for dependency in dependencies {
            let Some(table) = self.tables.get_mut(&dependency.table.oid) else { continue };
            table.unkeyed.retain(|(of, _)| *of != group);
            if let Some((column, values)) = dependency.keys.iter().min_by_key(|(_, values)| values.len())
                && let Some(by_value) = table.keyed.get_mut(column)
            {
                for value in values {
                    if let Some(list) = by_value.get_mut(value) {
                        list.retain(|(of, _)| *of != group);
                        if list.is_empty() {
                            by_value.remove(value);
                        }
                    }
                }
                if by_value.is_empty() {
                    table.keyed.remove(column);
                }
            }
            if table.keyed.is_empty() && table.unkeyed.is_empty() {
                self.tables.remove(&dependency.table.oid);
            }
        }
    }

    /// Notes the groups that a change concerns.
    pub(crate) fn concerned(&self, change: &Change, found: &mut HashSet<GroupId>) {
        let Some(table) = self.tables.get(&change.table) else { return };
        let mut look = |list: &[(GroupId, Dependency)]| {
            for (group, dependency) in list {
                if !found.contains(group) && matches(dependency, change) {
                    found.insert(*group);
                }
            }
        };
        look(&table.unkeyed);
        for (column, by_value) in &table.keyed {
            let at = change.keys.iter().position(|key| key == column);
            match (at, &change.rows) {
                (Some(at), Some(rows)) => {
                    let values: BTreeSet<&Option<String>> = rows.iter().filter_map(|row| row.get(at)).collect();
                    values.into_iter().filter_map(|value| by_value.get(value)).for_each(|list| look(list));
                }
                // All rows, or a trigger that does not know this column yet.
                _ => by_value.values().for_each(|list| look(list)),
            }
        }
    }
}

/// Whether a change can alter what the dependency stands for.
pub(super) fn matches(dependency: &Dependency, change: &Change) -> bool {
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
    rows.iter().any(|row| places.iter().all(|(at, values)| row.get(*at).is_none_or(|value| values.contains(value))))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::read_set::Table;

    fn dependency(columns: &[&str], keys: &[(&str, &[&str])]) -> Dependency {
        let table = Table { oid: 1, name: "t".into(), columns: Vec::new(), attributes: 0, family: Vec::new() };
        let values = |list: &[&str]| list.iter().map(|value| Some((*value).to_owned())).collect();
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
        for (id, dependency) in &groups {
            index.remove(GroupId(*id), std::slice::from_ref(dependency));
        }
        assert!(index.tables.is_empty());
    }
}
