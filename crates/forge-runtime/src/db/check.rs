//! The check of an app's SQL: every `sql!` statement is prepared on the migrated database, and what it takes and returns is compared
//! with the Rust types. No cache files: the statements are linked into the program.
//!
//! What is found: text that the database refuses; a column that is missing, of another type, or may be NULL where the field cannot
//! be (see [`nulls`](super::nulls)); an argument of another type, where the type is written (`{id: Uuid}`). What is not: the type of
//! an argument that is not written, which the macro cannot see; that one is reported with its name when the statement runs.

use forge_core::Result;
use tokio_postgres::{Column, Statement as Prepared};

use super::row::Field;
use super::sql::CheckedSql;
use super::{Database, Verb, error, nulls};

/// Checks all statements that are linked into this program. Returns how many there are, and what is wrong with which.
///
/// # Errors
/// `DATABASE_UNAVAILABLE` when the database cannot be reached.
pub(crate) async fn check_statements(database: &Database) -> Result<(usize, Vec<String>)> {
    check_these(database, CheckedSql::all()).await
}

/// As [`check_statements`], for some statements.
///
/// # Errors
/// As there.
pub async fn check_these<'a>(
    database: &Database,
    statements: impl IntoIterator<Item = &'a CheckedSql>,
) -> Result<(usize, Vec<String>)> {
    let lease = database.primary().get().await?;
    let mut problems = Vec::new();
    let mut checked = 0;
    for sql in statements {
        checked += 1;
        let statement = sql.statement;
        if statement.shape().verb == Verb::Control {
            problems.push(format!(
                "{}: transactions and session settings belong to FORGE: {}",
                statement.place(),
                statement.text()
            ));
            continue;
        }
        let found = match lease.client().prepare(statement.text()).await {
            Err(why) if error::is_disconnect(&why) => return Err(error::from_driver(why)),
            Err(why) => vec![why.as_db_error().map_or_else(|| why.to_string(), |db| db.message().to_owned())],
            Ok(prepared) => {
                let read = columns_of_fields((sql.fields)(), prepared.columns());
                let mut found = arguments(sql, &prepared);
                found.extend(columns(&read, prepared.columns()));
                found.extend(nulls::find(lease.client(), sql, &read).await?);
                found
            }
        };
        problems.extend(found.iter().map(|problem| format!("{}: {problem}\n    {}", statement.place(), statement.text())));
    }
    problems.sort();
    Ok((checked, problems))
}

/// The fields of a row, each with the column it is read from when that is there.
fn columns_of_fields(fields: Vec<Field>, columns: &[Column]) -> Vec<(Field, Option<&Column>)> {
    let column = |(position, field): (usize, Field)| {
        let column = match field.name {
            Some(name) => columns.iter().find(|column| column.name() == name),
            None => columns.get(position),
        };
        (field, column)
    };
    fields.into_iter().enumerate().map(column).collect()
}

/// Arguments whose type is written and is not what the statement takes.
fn arguments(sql: &CheckedSql, prepared: &Prepared) -> Vec<String> {
    let wrong = |(param, takes): (&super::Param, &postgres_types::Type)| {
        let (ty, accepts) = (param.ty?, param.accepts?);
        let name = param.name;
        (!accepts(takes)).then(|| {
            format!(
                "the argument `{{{name}: {ty}}}` is a `{ty}`, but the statement takes {takes} there: give it another type, or cast in the statement, as in `{{{name}: {ty}}}::bigint`"
            )
        })
    };
    sql.statement.params().iter().zip(prepared.params()).filter_map(wrong).collect()
}

/// Columns that are missing or have another type than their field.
fn columns(read: &[(Field, Option<&Column>)], columns: &[Column]) -> Vec<String> {
    let wrong = |(field, column): &(Field, Option<&Column>)| match (column, field.name) {
        (None, Some(name)) => {
            let have: Vec<&str> = columns.iter().map(Column::name).collect();
            Some(format!("it returns no column `{name}`, only {}", have.join(", ")))
        }
        (None, None) => Some(format!("it returns {} columns, but {} are read", columns.len(), read.len())),
        (Some(column), _) if !(field.accepts)(column.type_()) => {
            Some(format!("column `{}` is {}, which is not read as `{}`", column.name(), column.type_(), field.rust))
        }
        (Some(_), _) => None,
    };
    read.iter().filter_map(wrong).collect()
}

/// Changes whenever a `sql!` statement of this program does: part of the name of test templates, so that statements are checked
/// again when one of them was edited.
pub(crate) fn statements_fingerprint() -> String {
    use sha2::Digest as _;
    let mut hash = sha2::Sha256::new();
    let mut parts: Vec<String> = CheckedSql::all().map(|sql| sql.described()).collect();
    parts.sort_unstable();
    for part in parts {
        hash.update(part);
        hash.update([0]);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
