//! Rows into values: by column name for structs, by position for scalars and tuples.

use std::borrow::Cow;

use forge_core::schema::Json;
use forge_core::{Error, ErrorKind, Result};
use postgres_types::{FromSql, FromSqlOwned, Type};
use tokio_postgres::Row;

/// A type that a row can become. Models have it, `#[derive(FromRow)]` gives it to a plain struct, and scalars and tuples
/// of scalars have it too.
#[diagnostic::on_unimplemented(
    message = "a row cannot become a `{Self}`",
    note = "use a model, put `#[derive(forge::FromRow)]` on your struct, or take a scalar or a tuple such as `(i64, String)`"
)]
pub trait FromRow: Sized {
    /// The names of the columns it takes, in the order of its fields; empty when it takes them by position.
    const COLUMNS: &'static [&'static str];

    /// What it expects of the columns, for the check of `sql!` statements: empty when it takes whatever comes.
    fn fields() -> Vec<Field> {
        Vec::new()
    }

    /// Makes the value.
    ///
    /// # Errors
    /// `DATABASE_ERROR` when a column has another type than the field.
    fn from_row(row: &RowView<'_>) -> Result<Self>;
}

/// A field that a column is read into.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// The column's name; `None` when it is taken by position.
    pub name: Option<&'static str>,
    /// The field's own name; `None` when it has none.
    pub field: Option<&'static str>,
    /// The field's Rust type.
    pub rust: &'static str,
    /// Whether the field can be made from a column of this type.
    pub accepts: fn(&Type) -> bool,
    /// Whether the field can be made from a NULL of this type.
    pub takes_null: fn(&Type) -> bool,
}

impl Field {
    /// A field of type `T` that is taken by position.
    pub fn of<T: FromSqlOwned>() -> Self {
        Self {
            name: None,
            field: None,
            rust: std::any::type_name::<T>(),
            accepts: <T as FromSql<'static>>::accepts,
            takes_null: |ty| <T as FromSql<'static>>::from_sql_null(ty).is_ok(),
        }
    }

    /// The field `field` of type `T`, which is read from the column `name`.
    pub fn named<T: FromSqlOwned>(name: &'static str, field: &'static str) -> Self {
        Self { name: Some(name), field: Some(field), ..Self::of::<T>() }
    }
}

/// A row whose columns have been found by name, once for the whole result.
#[derive(Debug, Clone, Copy)]
pub struct RowView<'a> {
    row: &'a Row,
    positions: &'a [usize],
}

impl<'a> RowView<'a> {
    /// A row, and where the columns of its fields are.
    pub(super) fn new(row: &'a Row, positions: &'a [usize]) -> Self {
        Self { row, positions }
    }

    /// The value of a field, by its position in [`FromRow::COLUMNS`] (or in the row, for types without names).
    ///
    /// # Errors
    /// `DATABASE_ERROR` when the column is missing or has another type.
    pub fn get<T: FromSqlOwned>(&self, field: usize) -> Result<T> {
        let position = self.positions.get(field).copied().unwrap_or(field);
        self.row.try_get(position).map_err(|why| {
            let column = self.row.columns().get(position);
            let name = column.map_or(Cow::Borrowed("?"), |c| Cow::Owned(format!("{} ({})", c.name(), c.type_())));
            Error::new(ErrorKind::Database, format!("column {name} does not fit `{}`: {why}", std::any::type_name::<T>()))
                .with_source(why)
        })
    }
}

/// A type that is one column. Enums of the app have it from `#[forge::forge_enum]`.
pub trait Scalar {}

macro_rules! scalars {
    ($($ty:ty),* $(,)?) => { $(impl Scalar for $ty {})* };
}

scalars!(
    bool,
    i16,
    i32,
    i64,
    u32,
    f32,
    f64,
    String,
    crate::config::Secret,
    uuid::Uuid,
    jiff::Timestamp,
    jiff::civil::Date,
    jiff::civil::Time,
    jiff::civil::DateTime,
    rust_decimal::Decimal,
    serde_json::Value,
    Vec<u8>,
);

impl<T> Scalar for Json<T> {}
impl<T: Scalar> Scalar for Option<T> {}
impl<T: Scalar> Scalar for Vec<T> {}

impl<T: Scalar + FromSqlOwned> FromRow for T {
    const COLUMNS: &'static [&'static str] = &[];
    fn fields() -> Vec<Field> {
        vec![Field::of::<T>()]
    }
    fn from_row(row: &RowView<'_>) -> Result<Self> {
        row.get(0)
    }
}

/// `sql!` without a row type: whatever comes back is not looked at.
impl FromRow for () {
    const COLUMNS: &'static [&'static str] = &[];
    fn from_row(_: &RowView<'_>) -> Result<Self> {
        Ok(())
    }
}

macro_rules! tuples {
    ($(($($ty:ident $index:tt),*))*) => {$(
        impl<$($ty: Scalar + FromSqlOwned),*> FromRow for ($($ty,)*) {
            const COLUMNS: &'static [&'static str] = &[];
            fn fields() -> Vec<Field> {
                vec![$(Field::of::<$ty>()),*]
            }
            fn from_row(row: &RowView<'_>) -> Result<Self> {
                Ok(($(row.get::<$ty>($index)?,)*))
            }
        }
    )*};
}

tuples! {
    (A 0)
    (A 0, B 1)
    (A 0, B 1, C 2)
    (A 0, B 1, C 2, D 3)
    (A 0, B 1, C 2, D 3, E 4)
    (A 0, B 1, C 2, D 3, E 4, F 5)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7)
}

/// Makes values of all rows of a result. Columns are found once, by name, so that a column added to a table while the
/// app runs changes nothing.
pub(crate) fn decode_all<R: FromRow>(rows: &[Row]) -> Result<Vec<R>> {
    let Some(first) = rows.first() else { return Ok(Vec::new()) };
    let positions = positions::<R>(first)?;
    rows.iter().map(|row| R::from_row(&RowView::new(row, &positions))).collect()
}

/// Makes a value of one row.
pub(crate) fn decode_one<R: FromRow>(row: &Row) -> Result<R> {
    let positions = positions::<R>(row)?;
    R::from_row(&RowView::new(row, &positions))
}

/// The position of each field's column; empty when the columns come in the order of the fields, as they mostly do.
pub(super) fn positions<R: FromRow>(row: &Row) -> Result<Vec<usize>> {
    let columns = row.columns();
    let in_order = |(field, name): (usize, &&str)| columns.get(field).is_some_and(|column| column.name() == *name);
    if R::COLUMNS.iter().enumerate().all(in_order) {
        return Ok(Vec::new());
    }
    R::COLUMNS
        .iter()
        .map(|name| {
            columns.iter().position(|column| column.name() == *name).ok_or_else(|| {
                let have: Vec<&str> = columns.iter().map(tokio_postgres::Column::name).collect();
                Error::new(
                    ErrorKind::Database,
                    format!(
                        "`{}` needs the column `{name}`, but the statement returns {}",
                        std::any::type_name::<R>(),
                        have.join(", ")
                    ),
                )
            })
        })
        .collect()
}
