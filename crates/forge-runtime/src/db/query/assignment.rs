//! Values for columns, as inserts and updates take them.

use std::fmt;
use std::marker::PhantomData;

use crate::db::model::{Model, Value};

/// A value for a column. Made by the column tokens: `Card::TITLE.set("Milk")`.
pub struct Assignment<M> {
    pub(super) column: &'static str,
    pub(super) value: Value,
    of: PhantomData<fn() -> M>,
}

impl<M> fmt::Debug for Assignment<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = ..", self.column)
    }
}

impl<M> Assignment<M> {
    pub(in crate::db) fn new(column: &'static str, value: Value) -> Self {
        Self { column, value, of: PhantomData }
    }
}

/// What an insert takes: a whole model, or assignments.
pub trait IntoAssignments<M> {
    /// The assignments.
    fn into_assignments(self) -> Vec<Assignment<M>>;
}

impl<M: Model> IntoAssignments<M> for M {
    fn into_assignments(self) -> Vec<Assignment<M>> {
        M::COLUMNS.iter().zip(self.into_values()).map(|(column, value)| Assignment::new(column, value)).collect()
    }
}

impl<M: Model, const N: usize> IntoAssignments<M> for [Assignment<M>; N] {
    fn into_assignments(self) -> Vec<Assignment<M>> {
        self.into()
    }
}

impl<M: Model> IntoAssignments<M> for Vec<Assignment<M>> {
    fn into_assignments(self) -> Vec<Assignment<M>> {
        self
    }
}
