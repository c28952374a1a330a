//! What tables look like, as the models of an app declare them.
//!
//! A `#[forge::model]` describes itself as a [`TableDef`], a `#[forge::forge_enum]` as an [`EnumDef`]; the manifest holds
//! them all. The descriptions are compared with the database by `forge check` and feed code generation; changing the
//! database is the business of migrations.

mod column;
mod table;

pub use column::{ColumnType, Json, SqlType};
pub use table::{ColumnDef, EnumDef, IndexDef, TableDef};

/// Quotes an identifier for SQL: always in double quotes, inner ones doubled.
///
/// ```
/// assert_eq!(forge_core::schema::quote_identifier("order"), "\"order\"");
/// ```
pub fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
