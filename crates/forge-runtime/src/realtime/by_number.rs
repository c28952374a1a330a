//! A small map by the numbers of a session's subscriptions, of which there are few, and mostly one: one allocation, and none while it is empty.

/// What there is, by number.
#[derive(Debug)]
pub(super) struct ByNumber<T>(Vec<(u64, T)>);

impl<T> Default for ByNumber<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> ByNumber<T> {
    fn place(&self, number: u64) -> Result<usize, usize> {
        self.0.binary_search_by_key(&number, |(number, _)| *number)
    }

    pub(super) fn get(&self, number: u64) -> Option<&T> {
        self.place(number).ok().map(|at| &self.0[at].1)
    }

    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut T> {
        self.place(number).ok().map(|at| &mut self.0[at].1)
    }

    /// All of it, in the order of the numbers.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut (u64, T)> {
        self.0.iter_mut()
    }

    /// Returns what it takes the place of.
    pub(super) fn insert(&mut self, number: u64, value: T) -> Option<T> {
        match self.place(number) {
            Ok(at) => Some(std::mem::replace(&mut self.0[at].1, value)),
            Err(at) => {
                if self.0.is_empty() {
                    self.0.reserve_exact(1);
                }
                self.0.insert(at, (number, value));
                None
            }
        }
    }

    pub(super) fn remove(&mut self, number: u64) -> Option<T> {
        self.place(number).ok().map(|at| self.0.remove(at).1)
    }

    /// Takes all of it, in the order of the numbers.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (u64, T)> {
        self.0.drain(..)
    }
}

impl<T> IntoIterator for ByNumber<T> {
    type Item = (u64, T);
    type IntoIter = std::vec::IntoIter<(u64, T)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<T> Extend<(u64, T)> for ByNumber<T> {
    fn extend<I: IntoIterator<Item = (u64, T)>>(&mut self, all: I) {
        for (number, value) in all {
            self.insert(number, value);
        }
    }
}

impl<T> FromIterator<(u64, T)> for ByNumber<T> {
    fn from_iter<I: IntoIterator<Item = (u64, T)>>(all: I) -> Self {
        let mut map = Self::default();
        map.extend(all);
        map
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_the_newest_of_each_number_in_their_order() {
        let mut map: ByNumber<char> = [(7, 'a'), (2, 'b'), (9, 'c')].into_iter().collect();
        assert_eq!(map.insert(7, 'd'), Some('a'));
        assert_eq!((map.get(2), map.get(3)), (Some(&'b'), None));
        assert_eq!((map.remove(9), map.remove(9)), (Some('c'), None));
        map.extend([(1, 'e'), (2, 'f')]);
        assert_eq!(map.drain().collect::<Vec<_>>(), [(1, 'e'), (2, 'f'), (7, 'd')]);
        assert!(map.into_iter().next().is_none());
    }
}
