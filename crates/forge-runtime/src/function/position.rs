//! Positions: what a caller has written, so that what they are shown contains it.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use forge_core::{Error, Result};
use http::HeaderValue;

/// How many positions a call may bring before they are taken as "all that is there now".
const POSITIONS_MAX: usize = 64;

/// How many transactions an answer names; of more it says "all that is there now", as its client sends them with every call.
const TOLD_MAX: usize = 16;

/// What a call must not fall behind, and what its answer says of what it has written: a mutation says where it stands in the history of
/// commits, an action where all do that it called, and later calls of the same caller bring it back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Written {
    /// A place in the log, for replicas; 0 when it does not matter.
    pub(crate) lsn: u64,
    /// Transactions whose effect the caller has to see, for what is kept.
    pub(crate) xids: Vec<u64>,
    /// Everything that has been committed when the call comes.
    pub(crate) now: bool,
}

impl Written {
    /// Everything that has been committed when the call comes. No replica is known to have that.
    pub(crate) fn until_now() -> Self {
        Self { lsn: u64::MAX, xids: Vec::new(), now: true }
    }

    /// By a transaction that has ended; `lsn` is 0 where there are no replicas. None when there is nothing to say.
    pub(crate) fn by(lsn: u64, xid: Option<u64>) -> Option<Self> {
        let xids: Vec<u64> = xid.into_iter().collect();
        (lsn > 0 || !xids.is_empty()).then_some(Self { lsn, xids, now: false })
    }

    /// That as well.
    fn add(&mut self, other: &Self) {
        self.lsn = self.lsn.max(other.lsn);
        self.now |= other.now;
        for xid in &other.xids {
            if self.xids.len() >= TOLD_MAX {
                self.now = true;
            } else if !self.xids.contains(xid) {
                self.xids.push(*xid);
            }
        }
    }

    /// Of a list of positions as a client sends them. A client that wrote several things at once sends all of them.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` when one of them is none.
    pub(crate) fn parse(list: &str) -> Result<Self> {
        let mut written = Self::default();
        for one in list.split(',').map(str::trim) {
            let (lsn, xid) = one.split_once('-').map_or((one, None), |(lsn, xid)| (lsn, Some(xid)));
            let number = |text: &str| {
                text.parse::<u64>()
                    .map_err(|_| Error::invalid_argument("x-forge-position is not a position that this server gave"))
            };
            // The furthest place in the log contains the others.
            written.lsn = written.lsn.max(number(lsn)?);
            match xid.map(number).transpose()? {
                Some(0) => {}
                Some(xid) if written.xids.len() < POSITIONS_MAX => written.xids.push(xid),
                // A place in the log alone says nothing about transactions.
                Some(_) | None => written.now = true,
            }
        }
        Ok(written)
    }
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.now {
            // Which transactions, does not matter then.
            return write!(f, "{}", self.lsn);
        }
        write!(f, "{}-{}", self.lsn, self.xids.first().unwrap_or(&0))?;
        self.xids.iter().skip(1).try_for_each(|xid| write!(f, ",0-{xid}"))
    }
}

impl From<Written> for HeaderValue {
    fn from(written: Written) -> Self {
        // Digits, dashes and commas.
        Self::try_from(written.to_string()).unwrap_or_else(|_| Self::from_static("0-0"))
    }
}

/// What a call has written since it began: by the mutations that it called, which have transactions of their own.
#[derive(Debug, Default)]
pub(crate) struct Wrote(Mutex<Written>);

impl Wrote {
    fn written(&self) -> MutexGuard<'_, Written> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// That as well.
    pub(crate) fn add(&self, written: &Written) {
        self.written().add(written);
    }

    /// The furthest place in the log.
    pub(crate) fn lsn(&self) -> u64 {
        self.written().lsn
    }

    /// What the call's answer says of it; nothing when that is nothing.
    pub(crate) fn told(&self) -> Option<Written> {
        let written = self.written();
        (*written != Written::default()).then(|| written.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_read_as_they_are_written() {
        for (lsn, xid) in [(7, Some(12)), (7, None), (0, Some(12))] {
            let one = Written::by(lsn, xid).unwrap();
            assert_eq!(Written::parse(&one.to_string()).unwrap(), one);
        }
        assert_eq!(Written::by(0, None), None);
        let several = Written::parse("9-12, 8-13,0-0").unwrap();
        assert_eq!(several, Written { lsn: 9, xids: vec![12, 13], now: false });
        assert_eq!(Written::parse("9").unwrap(), Written { lsn: 9, xids: vec![], now: true });
        assert!(Written::parse(&["1-1"; 100].join(",")).unwrap().now);
        for wrong in ["", "-", "x", "1-x", "1-", "-1", "1-2-3", "1,,2", "99999999999999999999"] {
            assert_eq!(Written::parse(wrong).unwrap_err().code(), "INVALID_ARGUMENT", "{wrong}");
        }
    }
    #[test]
    fn what_several_mutations_wrote_is_told_together() {
        let wrote = Wrote::default();
        assert_eq!(wrote.told(), None);
        for (lsn, xid) in [(7, 12), (9, 13), (8, 14), (9, 13)] {
            wrote.add(&Written::by(lsn, Some(xid)).unwrap());
        }
        let told = wrote.told().unwrap();
        assert_eq!((wrote.lsn(), told.to_string().as_str()), (9, "9-12,0-13,0-14"));
        assert_eq!(Written::parse(&told.to_string()).unwrap(), told);
        (20..40).for_each(|xid| wrote.add(&Written::by(0, Some(xid)).unwrap()));
        assert_eq!(wrote.told().unwrap().to_string(), "9", "and all that is there when it comes back");
    }
}
