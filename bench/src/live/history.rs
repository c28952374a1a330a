//! The checker: it knows every write, and judges everything that clients were told.
//!
//! One connection writes to a list, so its writes are in order, and each state of the list that ever was is the outcome of the first few
//! of them. A client has been told of a write when it has been told a state that contains it.

use std::time::Instant;

use super::wire::{State, StateId, States};

/// A write of one row that was acknowledged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Write {
    pub(crate) list: usize,
    /// Its place in the list.
    pub(crate) row: usize,
    /// Greater than those of all writes to the list before.
    pub(crate) revision: i64,
    pub(crate) acknowledged: Instant,
}

/// A client was told a state.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told {
    pub(crate) client: usize,
    pub(crate) state: StateId,
    pub(crate) at: Instant,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// From the acknowledgement of a write to each of its subscribers, in microseconds, the shortest first.
    pub(crate) latencies_us: Vec<u32>,
    /// Writes of which a client was never told.
    pub(crate) missing: usize,
    /// A client was told a state that never was.
    pub(crate) torn: usize,
    /// A client was told an earlier state than before.
    pub(crate) stale: usize,
}

impl Verdict {
    /// How much was wrong.
    pub(crate) fn wrong(&self) -> usize {
        self.missing + self.torn + self.stale
    }

    /// The latency, in milliseconds, that this share does not exceed.
    pub(crate) fn quantile_ms(&self, share: f64) -> f64 {
        quantile_ms(&self.latencies_us, share)
    }
}

/// Of sorted latencies.
pub(crate) fn quantile_ms(sorted_us: &[u32], share: f64) -> f64 {
    let last = sorted_us.len().saturating_sub(1);
    f64::from(sorted_us.get((last as f64 * share).round() as usize).copied().unwrap_or(0)) / 1000.0
}

/// Judges. `before` is each list's state before the first write, `clients` how many there are: client n is told of list n modulo the
/// number of lists.
pub(crate) fn judge(before: &[State], mut writes: Vec<Write>, told: &[Told], clients: usize, states: &States) -> Verdict {
    writes.sort_unstable_by_key(|write| (write.list, write.revision));
    let mut by_client: Vec<Vec<Told>> = vec![Vec::new(); clients];
    for one in told {
        by_client[one.client].push(*one);
    }
    let (mut verdict, lists) = (Verdict::default(), before.len());
    for (list, before) in before.iter().enumerate() {
        let from = writes.partition_point(|write| write.list < list);
        let to = writes.partition_point(|write| write.list <= list);
        let history = History::of(before, &writes[from..to]);
        for told in by_client.iter().skip(list).step_by(lists) {
            history.judge(told, states, &mut verdict);
        }
    }
    verdict.latencies_us.sort_unstable();
    verdict
}

/// All that a list ever was.
struct History<'a> {
    writes: &'a [Write],
    /// After none of the writes, after the first, and so on.
    states: Vec<State>,
}

impl<'a> History<'a> {
    fn of(before: &State, writes: &'a [Write]) -> Self {
        let mut states = vec![before.clone()];
        let mut now = before.clone();
        for write in writes {
            now[write.row] = write.revision;
            states.push(now.clone());
        }
        Self { writes, states }
    }

    /// How many of the writes a state contains; None when it never was.
    fn place(&self, state: &State) -> Option<usize> {
        let newest = state.iter().max().copied().unwrap_or(0);
        let place = self.writes.partition_point(|write| write.revision <= newest);
        (self.states[place] == *state).then_some(place)
    }

    fn judge(&self, told: &[Told], states: &States, verdict: &mut Verdict) {
        let mut known = 0;
        for one in told {
            match self.place(states.get(one.state)) {
                None => verdict.torn += 1,
                Some(place) if place < known => verdict.stale += 1,
                Some(place) => {
                    let late = |write: &Write| one.at.saturating_duration_since(write.acknowledged).as_micros();
                    let latencies = self.writes[known..place].iter().map(late);
                    verdict.latencies_us.extend(latencies.map(|us| u32::try_from(us).unwrap_or(u32::MAX)));
                    known = place;
                }
            }
        }
        verdict.missing += self.writes.len() - known;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Two lists of two rows, four clients; list 0 is written three times.
    fn judged(told: &[(usize, [i64; 2], u64)]) -> Verdict {
        let began = Instant::now();
        let at = |ms| began + Duration::from_millis(ms);
        let write = |row, revision, ms| Write { list: 0, row, revision, acknowledged: at(ms) };
        let writes = vec![write(0, 11, 10), write(1, 12, 20), write(0, 13, 30)];
        let mut states = States::default();
        let told: Vec<Told> = told
            .iter()
            .map(|(client, state, ms)| {
                let rows = state.map(|revision| format!("{{\"revision\":{revision}}}")).join(",");
                let text =
                    format!("{{\"type\":\"data\",\"payload\":{{\"data\":{{\"allTodos\":{{\"nodes\":[{rows}]}}}}}}}}");
                let state = states.of_graphql(text.as_bytes()).unwrap().unwrap();
                Told { client: *client, state, at: at(*ms) }
            })
            .collect();
        judge(&[vec![1, 2], vec![1, 2]], writes, &told, 4, &states)
    }

    #[test]
    fn who_is_told_of_several_writes_at_once_is_told_of_each() {
        let verdict = judged(&[(0, [11, 2], 11), (0, [13, 12], 35), (2, [13, 12], 40)]);
        assert_eq!(verdict.wrong(), 0);
        // Client 0: 1, 15 and 5 ms; client 2: 30, 20 and 10.
        assert_eq!(verdict.latencies_us, [1_000, 5_000, 10_000, 15_000, 20_000, 30_000]);
        assert_eq!(verdict.quantile_ms(1.0), 30.0);
    }

    #[test]
    fn everything_that_is_wrong_is_counted() {
        let all = [13, 12];
        assert_eq!(judged(&[(0, all, 40)]).missing, 3, "client 2 was told nothing");
        assert_eq!(judged(&[(0, all, 40), (2, [11, 12], 40)]).missing, 1, "client 2 was not told the last");
        // The third write without the second.
        let torn = judged(&[(0, [13, 2], 40), (0, all, 50), (2, all, 40)]);
        assert_eq!((torn.torn, torn.missing), (1, 0));
        let stale = judged(&[(0, all, 40), (0, [11, 2], 41), (2, all, 40)]);
        assert_eq!((stale.stale, stale.missing, stale.wrong()), (1, 0, 1));
    }
}
