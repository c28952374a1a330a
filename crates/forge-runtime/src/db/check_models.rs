//! The check of an app's models: what they promise of tables and enum types is compared with the database. Each difference is told
//! with what to write into a migration, or what to change in the model.
//!
//! What the database has beyond the models is nobody's mistake: columns, tables and indexes that no model knows are left alone, and
//! so are defaults, which may be computed in many ways.

use forge_core::schema::{ColumnDef, EnumDef, SqlType, TableDef, quote_identifier};
use forge_core::{Error, Result};
use tokio_postgres::{Client, Row};

use super::{Database, error};

/// Compares models with the database. Returns what does not fit, each with a way to put it right.
///
/// # Errors
/// `DATABASE_UNAVAILABLE` when the database cannot be reached.
pub(crate) async fn check_models(database: &Database, tables: &[TableDef], enums: &[EnumDef]) -> Result<Vec<String>> {
    let lease = database.primary().get().await?;
    let client = lease.client();
    let mut problems = Vec::new();
    // Types before the tables that use them, as a migration would create them.
    for definition in enums {
        let used = tables.iter().flat_map(|table| &table.columns).any(|column| uses(&column.sql_type, &definition.name));
        problems.extend(check_enum(client, definition, used).await?);
    }
    for table in tables {
        check_table(client, table, &mut problems).await?;
    }
    Ok(problems)
}

/// A column of the database.
struct Found {
    name: String,
    /// Whether it can never be NULL.
    required: bool,
    /// Its type, as people write it.
    shown: String,
    /// The name of its type, or of its items' when it is an array.
    ty: String,
    is_array: bool,
    /// The most characters it takes.
    length: Option<i32>,
}

/// An index of the database.
struct FoundIndex {
    unique: bool,
    /// Whether it covers all rows.
    whole: bool,
    columns: Vec<String>,
}

async fn check_table(client: &Client, table: &TableDef, problems: &mut Vec<String>) -> Result<()> {
    let (model, name) = (&table.model, table.qualified_name());
    let mut report = |what: String, fix: String| problems.push(format!("model `{model}`: {what}\n    {fix}"));
    let relation = query(client, include_str!("sql/check_relation.sql"), &[&name]).await?;
    let Some(relation) = relation.first() else {
        let create = table.to_create_sql().trim_end().replace('\n', "\n    ");
        report(format!("there is no table {name}; create it in a migration:"), create);
        return Ok(());
    };
    let (id, is_table) = (column::<i64>(relation, "id")?, column::<bool>(relation, "is_table")?);
    let id = u32::try_from(id).map_err(|_| Error::internal(format!("{name} has the impossible id {id}")))?;
    let found = query(client, include_str!("sql/check_columns.sql"), &[&id]).await?;
    let found = found.iter().map(Found::from_row).collect::<Result<Vec<_>>>()?;
    let indexes = query(client, include_str!("sql/check_indexes.sql"), &[&id]).await?;
    let indexes = indexes.iter().map(FoundIndex::from_row).collect::<Result<Vec<_>>>()?;
    let mut missing = Vec::new();
    for column in &table.columns {
        let quoted = quote_identifier(&column.name);
        let Some(found) = found.iter().find(|found| found.name == column.name) else {
            missing.push(&column.name);
            report(format!("{name} has no column {quoted}; add it in a migration:"), add_column(&name, column));
            continue;
        };
        check_column(&name, column, found, is_table, &mut report);
        // A view has no keys.
        if !is_table {
            continue;
        }
        let unique = indexes.iter().any(|index| index.unique && index.whole && index.columns == [column.name.as_str()]);
        if column.primary_key && !unique {
            report(
                format!("{quoted} is the model's id, but nothing makes it unique in {name}; say so in a migration:"),
                format!("ALTER TABLE {name} ADD PRIMARY KEY ({quoted});"),
            );
        } else if column.unique && !unique {
            report(
                format!(
                    "{quoted} is `#[unique]`, but {name} has no unique index on it alone and for all rows; add one in a migration, or leave `#[unique]` out:"
                ),
                format!("ALTER TABLE {name} ADD UNIQUE ({quoted});"),
            );
        }
    }
    for index in table.indexes.iter().filter(|_| is_table) {
        let there = indexes.iter().any(|found| found.columns.starts_with(&index.columns));
        // A missing column has been told already, and its index comes with it.
        if !there && !index.columns.iter().any(|column| missing.contains(&column)) {
            report(
                format!(
                    "{name} has no index that begins with ({}); add it in a migration, or leave the model's out:",
                    index.columns.join(", ")
                ),
                index.to_create_sql(&name).trim_end().to_owned(),
            );
        }
    }
    Ok(())
}

fn check_column(table: &str, column: &ColumnDef, found: &Found, is_table: bool, report: &mut impl FnMut(String, String)) {
    let quoted = quote_identifier(&column.name);
    let wanted = &column.sql_type;
    if !found.fits(wanted) {
        let or = found.rust().map(|rust| format!(", or make the field `{rust}`")).unwrap_or_default();
        report(
            format!(
                "{quoted} of {table} is {}, which the model's {wanted} does not fit; change it in a migration{or}:",
                found.shown
            ),
            format!("ALTER TABLE {table} ALTER COLUMN {quoted} TYPE {wanted} USING {quoted}::{wanted};"),
        );
    }
    if is_table && !column.nullable && !found.required {
        report(
            format!(
                "{quoted} of {table} may be NULL, which the model cannot read; forbid it in a migration, or make the field an `Option`:"
            ),
            format!("ALTER TABLE {table} ALTER COLUMN {quoted} SET NOT NULL;"),
        );
    }
    if is_table && column.nullable && found.required {
        report(
            format!(
                "{quoted} of {table} can never be NULL, but the model's field is an `Option`, whose `None` cannot be written; allow it in a migration, or leave `Option` out:"
            ),
            format!("ALTER TABLE {table} ALTER COLUMN {quoted} DROP NOT NULL;"),
        );
    }
}

async fn check_enum(client: &Client, definition: &EnumDef, used: bool) -> Result<Vec<String>> {
    let EnumDef { name, rust, values } = definition;
    let quoted = quote_identifier(name);
    let found = query(client, include_str!("sql/check_enum.sql"), &[&quoted]).await?;
    let Some(found) = found.first() else {
        // One that no model stores may exist on the wire only; statements that use it are checked on their own.
        let create = definition.to_create_sql();
        let told =
            format!("enum `{rust}`: there is no enum type {quoted}; create it in a migration:\n    {}", create.trim_end());
        return Ok(if used { vec![told] } else { Vec::new() });
    };
    let found: Vec<String> = column(found, "values")?;
    let mut problems = Vec::new();
    for value in values.iter().filter(|value| !found.contains(value)) {
        problems.push(format!(
            "enum `{rust}`: the type {quoted} has no value '{value}'; add it in a migration:\n    ALTER TYPE {quoted} ADD VALUE '{}';",
            value.replace('\'', "''")
        ));
    }
    for value in found.iter().filter(|value| !values.contains(value)) {
        problems.push(format!(
            "enum `{rust}`: the type {quoted} has the value '{value}', which Rust cannot read; add a variant for it, or rename the value to one that there is:\n    ALTER TYPE {quoted} RENAME VALUE '{}' TO ..;",
            value.replace('\'', "''")
        ));
    }
    Ok(problems)
}

impl Found {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            name: column(row, "name")?,
            required: column(row, "required")?,
            shown: column(row, "shown")?,
            ty: column(row, "type")?,
            is_array: column(row, "is_array")?,
            length: column(row, "length")?,
        })
    }

    /// Whether the field's type can be read from it and written to it.
    fn fits(&self, wanted: &SqlType) -> bool {
        match wanted {
            SqlType::Array { of } => self.is_array && self.holds(of),
            other => !self.is_array && self.holds(other),
        }
    }

    fn holds(&self, wanted: &SqlType) -> bool {
        let text = ["text", "varchar", "bpchar", "name", "citext"].contains(&self.ty.as_str());
        match wanted {
            SqlType::Text => text,
            // What the model lets pass, the column has to take.
            SqlType::Varchar { length } => text && self.length.is_none_or(|most| i64::from(most) >= i64::from(*length)),
            SqlType::SmallInt => self.ty == "int2",
            SqlType::Integer => self.ty == "int4",
            SqlType::BigInt => self.ty == "int8",
            SqlType::Real => self.ty == "float4",
            SqlType::Double => self.ty == "float8",
            SqlType::Boolean => self.ty == "bool",
            SqlType::Uuid => self.ty == "uuid",
            SqlType::TimestampTz => self.ty == "timestamptz",
            SqlType::Date => self.ty == "date",
            SqlType::Time => self.ty == "time",
            SqlType::Numeric => self.ty == "numeric",
            SqlType::Jsonb => self.ty == "jsonb" || self.ty == "json",
            SqlType::Bytea => self.ty == "bytea",
            SqlType::Enum { name } => self.ty == *name,
            // Arrays of arrays are arrays to PostgreSQL.
            SqlType::Array { of } => self.holds(of),
        }
    }

    /// The type of a field that fits it, where there is just one.
    fn rust(&self) -> Option<&'static str> {
        if self.is_array {
            return None;
        }
        Some(match self.ty.as_str() {
            "int2" => "i16",
            "int4" => "i32",
            "int8" => "i64",
            "float4" => "f32",
            "float8" => "f64",
            "bool" => "bool",
            "uuid" => "Uuid",
            "timestamptz" => "Timestamp",
            "date" => "Date",
            "time" => "Time",
            "numeric" => "Decimal",
            "text" => "String",
            "bytea" => "Vec<u8>",
            _ => return None,
        })
    }
}

impl FoundIndex {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self { unique: column(row, "is_unique")?, whole: column(row, "whole")?, columns: column(row, "columns")? })
    }
}

/// Whether a type is, or holds, this enum.
fn uses(sql_type: &SqlType, name: &str) -> bool {
    match sql_type {
        SqlType::Enum { name: used } => used == name,
        SqlType::Array { of } => uses(of, name),
        _ => false,
    }
}

fn add_column(table: &str, column: &ColumnDef) -> String {
    let sql = format!("ALTER TABLE {table} ADD COLUMN {};", column.to_sql());
    if column.nullable || column.default.is_some() {
        return sql;
    }
    format!("{sql} -- where there are rows already, with a DEFAULT for them")
}

async fn query(client: &Client, text: &str, params: super::Params<'_>) -> Result<Vec<Row>> {
    client.query(text, params).await.map_err(error::from_driver)
}

fn column<'a, T: tokio_postgres::types::FromSql<'a>>(row: &'a Row, name: &str) -> Result<T> {
    row.try_get(name).map_err(error::from_driver)
}
