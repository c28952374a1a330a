//! Positions: what a caller has written, so that what they are shown contains it.

use std::fmt;

use forge_core::{Error, Result};
use http::HeaderValue;

/// How many positions a call may bring before they are taken as "all that is there now".
const POSITIONS_MAX: usize = 64;

/// Where a mutation stands in the history of commits. Its answer says it, and later calls of the same caller bring it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    /// A place in the log that contains it, for replicas; 0 where there are none.
    pub(crate) lsn: u64,
    /// The transaction that wrote, for what is kept; 0 when nothing was written.
    pub(crate) xid: u64,
}

impl Position {
    /// None when there is nothing to say.
    pub(crate) fn of(lsn: u64, xid: Option<u64>) -> Option<Self> {
        let position = Self { lsn, xid: xid.unwrap_or(0) };
        (position.lsn > 0 || position.xid > 0).then_some(position)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.lsn, self.xid)
    }
}

impl From<Position> for HeaderValue {
    fn from(position: Position) -> Self {
        // Digits and a dash.
        Self::try_from(position.to_string()).unwrap_or_else(|_| Self::from_static("0-0"))
    }
}

/// What a call must not fall behind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Written {
    /// A place in the log; 0 when it does not matter.
    pub(crate) lsn: u64,
    /// Transactions whose effect the caller has to see.
    pub(crate) xids: Vec<u64>,
    /// Everything that has been committed when the call comes.
    pub(crate) now: bool,
}

impl Written {
    /// Everything that has been committed when the call comes.
    pub(crate) fn until_now() -> Self {
        Self { now: true, ..Self::default() }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_read_as_they_are_written() {
        let one = Position { lsn: 7, xid: 12 }.to_string();
        assert_eq!(Written::parse(&one).unwrap(), Written { lsn: 7, xids: vec![12], now: false });
        let several = Written::parse("9-12, 8-13,0-0").unwrap();
        assert_eq!(several, Written { lsn: 9, xids: vec![12, 13], now: false });
        assert_eq!(Written::parse("9").unwrap(), Written { lsn: 9, xids: vec![], now: true });
        assert!(Written::parse(&["1-1"; 100].join(",")).unwrap().now);
        for wrong in ["", "-", "x", "1-x", "1-", "-1", "1-2-3", "1,,2", "99999999999999999999"] {
            assert_eq!(Written::parse(wrong).unwrap_err().code(), "INVALID_ARGUMENT", "{wrong}");
        }
    }
}
