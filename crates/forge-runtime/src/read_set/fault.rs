//! Faults that tests plant, each the loss of one mechanism, to see that the differential test would notice.
//!
//! Outside of tests none can be planted: [`Fault::is_planted`] is then a constant.

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// An update is matched by its new values only.
    OldValues,
    /// An update is matched by its old values only.
    NewValues,
    /// A column that a statement reads is left out.
    ColumnMask,
    /// `count(c)` is not taken for a use of all of the row's columns.
    WholeRow,
    /// The condition of a LEFT JOIN narrows the side that is kept.
    OuterJoin,
    /// `IS NULL` is taken for a condition that nothing meets.
    NullKey,
    /// Of an array that an argument is, the first element counts.
    AnyArray,
    /// Of several conditions joined by OR, the first counts.
    OrBranch,
    /// What a view reads is not followed.
    View,
    /// A name of a WITH query is taken for that query in its own body.
    WithShadow,
    /// A condition is passed into a sub-select that has a LIMIT.
    PushThroughLimit,
    /// TRUNCATE is not written down.
    Truncate,
    /// Tables are watched only where a statement names them, not where a foreign key cascades.
    Cascade,
    /// Partitions are not watched.
    Partition,
    /// Rows of an update are paired although one of them was dropped on its way.
    DroppedRow,
    /// Changes are filed under the id of the subtransaction.
    Savepoint,
    /// The feed is read from the newest transaction on that was seen.
    Watermark,
    /// Values of enum columns are compared in small letters.
    EnumKey,
    /// The bounds of ranges do not belong to them.
    RangeBound,
    /// Numbers are ordered as text.
    RangeOrder,
    /// Times are written down as text.
    TimeZone,
    /// Of many rows, the first are written down.
    RowsCap,
    /// A column of another type than was known is compared as before.
    ColumnType,
    /// A change that lacks a column's values is taken for one that does not match.
    UnknownColumn,
    /// An argument is looked at before it is cut to its type's length.
    CastLength,
}

#[cfg(test)]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Fault>> = const { std::cell::Cell::new(None) };
}

impl Fault {
    /// Whether this one is planted on this thread.
    #[cfg(test)]
    pub(crate) fn is_planted(self) -> bool {
        PLANTED.get() == Some(self)
    }

    /// Never.
    #[cfg(not(test))]
    pub(crate) const fn is_planted(self) -> bool {
        false
    }

    /// Plants one on this thread, or none.
    #[cfg(test)]
    pub(crate) fn plant(fault: Option<Self>) {
        PLANTED.set(fault);
    }
}
