//! Which transactions a reader sees.

use std::str::FromStr;
use std::sync::{Arc, LazyLock};

use forge_core::{Error, Result};

use crate::db::Shape;
use crate::db::error::from_driver;
use crate::db::transaction::Transaction;

static CURRENT: LazyLock<Arc<Shape>> = LazyLock::new(|| Shape::of("SELECT pg_current_snapshot()::text"));

/// A `pg_snapshot`: everything before `xmin` is seen, nothing from `xmax` on, and between them what is not listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Snapshot {
    xmin: u64,
    xmax: u64,
    open: Vec<u64>,
}

impl Snapshot {
    /// Whether a transaction that has committed is seen.
    pub(crate) fn sees(&self, xid: u64) -> bool {
        xid < self.xmin || (xid < self.xmax && self.open.binary_search(&xid).is_err())
    }

    /// The one that a transaction reads in.
    ///
    /// # Errors
    /// When the database is away.
    pub(crate) async fn of(transaction: &Transaction) -> Result<Self> {
        let answer = transaction.query(&CURRENT, &[]).await?;
        let row = answer.rows.first().ok_or_else(|| Error::internal("there is no snapshot"))?;
        row.try_get::<_, &str>(0).map_err(from_driver)?.parse()
    }

    /// Whether everything that an earlier one sees is seen. It may say no of one that was taken at nearly the same time.
    pub(crate) fn includes(&self, earlier: &Self) -> bool {
        earlier.xmax <= self.xmax && !self.open.iter().any(|xid| earlier.sees(*xid))
    }

    /// The whole id of a transaction of which the log has only the lower half: of all that end like it, the one next to this snapshot.
    pub(crate) fn widen(&self, xid: u32) -> u64 {
        // How far ahead of the snapshot it is, or behind.
        let ahead = xid.wrapping_sub(self.xmax as u32).cast_signed();
        self.xmax.saturating_add_signed(ahead.into())
    }

    /// The transactions that it does not see although they had begun.
    pub(crate) fn open(&self) -> &[u64] {
        &self.open
    }

    /// Names the place in the history of commits, for people who look.
    pub(crate) fn position(&self) -> u64 {
        self.xmax
    }
}

impl FromStr for Snapshot {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parse = || {
            let mut parts = text.split(':');
            let (xmin, xmax, open) = (parts.next()?, parts.next()?, parts.next()?);
            let open: Option<Vec<u64>> =
                open.split(',').filter(|xid| !xid.is_empty()).map(|xid| xid.parse().ok()).collect();
            Some(Self { xmin: xmin.parse().ok()?, xmax: xmax.parse().ok()?, open: open? })
        };
        parse().ok_or_else(|| Error::internal(format!("`{text}` is not a snapshot")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_sees_what_had_ended() {
        let snapshot: Snapshot = "10:20:10,14,15".parse().unwrap();
        let seen: Vec<u64> = (8..22).filter(|xid| snapshot.sees(*xid)).collect();
        assert_eq!(seen, [8, 9, 11, 12, 13, 16, 17, 18, 19]);
        assert!("10:10:".parse::<Snapshot>().unwrap().sees(9));
        assert!("10:x:".parse::<Snapshot>().is_err());
    }

    #[test]
    fn a_later_snapshot_includes_an_earlier_one() {
        let of = |text: &str| text.parse::<Snapshot>().unwrap();
        let (earlier, later) = (of("10:20:10,14,15"), of("14:22:14,20"));
        assert!(later.includes(&earlier) && later.includes(&later));
        assert!(!earlier.includes(&later), "it does not see 10, 15 and 21");
        assert!(!of("13:22:13").includes(&earlier), "the earlier one sees 13");
        assert!(!of("10:19:10").includes(&of("10:20:")));
    }

    #[test]
    fn an_id_of_the_log_is_widened_to_the_nearest() {
        let at = |xmax: u64| Snapshot { xmin: xmax, xmax, open: Vec::new() };
        assert_eq!([7, 99, 101].map(|xid| at(100).widen(xid)), [7, 99, 101]);
        let epoch = 5 << 32;
        assert_eq!(at(epoch + 3).widen(2), epoch + 2);
        assert_eq!(at(epoch + 3).widen(u32::MAX), epoch - 1, "from before the ids began anew");
        assert_eq!(at(epoch - 2).widen(4), epoch + 4, "from after");
    }
}
