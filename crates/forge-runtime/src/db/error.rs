//! What an error of the driver or of PostgreSQL means to a caller.

use std::fmt;

use forge_core::{Error, ErrorKind};
use serde_json::json;
use tokio_postgres::error::{DbError, SqlState};

use super::statement::Shape;

/// What the driver or PostgreSQL said, as the cause of an error: without its DETAIL, which repeats what a row contains
/// (`Failing row contains (..)`, `Key (email)=(..) already exists`), as causes are written to the log.
pub(crate) struct Refusal(tokio_postgres::Error);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(db) = self.0.as_db_error() else { return self.0.fmt(f) };
        write!(f, "{} {}: {}", db.severity(), db.code().code(), db.message())?;
        for (what, name) in [("table", DbError::table(db)), ("column", db.column()), ("constraint", db.constraint())] {
            if let Some(name) = name {
                write!(f, ", {what} {name}")?;
            }
        }
        db.hint().map_or(Ok(()), |hint| write!(f, "\nHINT: {hint}"))
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Refusal {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // PostgreSQL's own error is the same again, with its DETAIL.
        if self.0.as_db_error().is_some() { None } else { self.0.source() }
    }
}

/// The driver's error that is the cause of this one.
pub(crate) fn driver_of(error: &Error) -> Option<&tokio_postgres::Error> {
    Some(&error.source()?.downcast_ref::<Refusal>()?.0)
}

/// The error as functions and clients see it.
///
/// A broken rule of the data (a unique key, a foreign key, a check) is the caller's and says which constraint; the
/// database being away is a 503; anything else is a mistake in the app and goes to the log only.
pub(crate) fn from_driver(error: tokio_postgres::Error) -> Error {
    if is_disconnect(&error) {
        return Error::database_unavailable("the connection to the database was lost").with_source(Refusal(error));
    }
    let Some(db) = error.as_db_error() else {
        return Error::new(ErrorKind::Database, format!("the database driver: {error}")).with_source(Refusal(error));
    };
    let state = db.code().clone();
    let constraint = db.constraint().unwrap_or("unnamed").to_owned();
    let table = db.table().map(str::to_owned);
    let details = json!({ "constraint": constraint });
    let conflict = |text: String| Error::conflict(text).with_details(details.clone());
    let mapped = match state {
        SqlState::UNIQUE_VIOLATION => conflict(format!("a value that must be unique is taken ({constraint})")),
        SqlState::EXCLUSION_VIOLATION => conflict(format!("it collides with another row ({constraint})")),
        SqlState::FOREIGN_KEY_VIOLATION => {
            conflict(format!("it refers to something that does not exist, or is still referred to ({constraint})"))
        }
        SqlState::CHECK_VIOLATION => Error::new(ErrorKind::Validation, format!("a value is not allowed ({constraint})"))
            .with_details(details.clone()),
        SqlState::STRING_DATA_RIGHT_TRUNCATION => Error::new(ErrorKind::Validation, "a text is longer than its column"),
        SqlState::NUMERIC_VALUE_OUT_OF_RANGE => Error::new(ErrorKind::Validation, "a number is out of its column's range"),
        SqlState::DATETIME_FIELD_OVERFLOW => {
            Error::new(ErrorKind::Validation, "a date or time is out of the database's range")
        }
        // Which text that is, may be nobody's business: it can be a column's as well.
        SqlState::INVALID_TEXT_REPRESENTATION | SqlState::INVALID_DATETIME_FORMAT => {
            Error::new(ErrorKind::Validation, "a text is not of the form that its type has in the database")
        }
        // A text that is too long for its index, an array with too many dimensions.
        SqlState::PROGRAM_LIMIT_EXCEEDED => Error::new(ErrorKind::Validation, "a value is too large to be stored"),
        // A NUL byte in a text, or text that is not UTF-8: PostgreSQL stores neither.
        SqlState::CHARACTER_NOT_IN_REPERTOIRE | SqlState::UNTRANSLATABLE_CHARACTER => {
            Error::new(ErrorKind::Validation, "a text contains a character that cannot be stored")
        }
        SqlState::QUERY_CANCELED => Error::timeout("the database cancelled a statement that took too long"),
        SqlState::LOCK_NOT_AVAILABLE => Error::conflict("a lock could not be had in time"),
        SqlState::T_R_SERIALIZATION_FAILURE | SqlState::T_R_DEADLOCK_DETECTED => conflict_with_others(),
        SqlState::INVALID_COLUMN_REFERENCE if db.routine() == Some("infer_arbiter_indexes") => Error::new(
            ErrorKind::Database,
            "an upsert goes by a column that has no unique key in the database: add `UNIQUE (..)` in a migration, or go by another column",
        ),
        SqlState::TOO_MANY_CONNECTIONS => Error::database_unavailable("the database has no connection left"),
        SqlState::READ_ONLY_SQL_TRANSACTION => Error::new(
            ErrorKind::Database,
            "a query tried to write; make the function a mutation, or move the statement into one",
        ),
        _ => {
            let place = table.map(|t| format!(" (table {t})")).unwrap_or_default();
            Error::new(ErrorKind::Database, format!("{}: {}{place}", db.code().code(), db.message()))
        }
    };
    mapped.with_source(Refusal(error))
}

/// What is wrong with an argument that the driver could not send, with the argument's name.
pub(super) fn unsendable(error: &tokio_postgres::Error, shape: &Shape) -> Option<String> {
    // The driver keeps the position to itself, but says it.
    let text = error.to_string();
    let rest = text.strip_prefix("error serializing parameter ")?;
    let position: usize = rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()?;
    let why = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    let name =
        shape.params.get(position).map_or_else(|| format!("${}", position + 1), |param| format!("{{{}}}", param.name));
    Some(format!(
        "the argument `{name}` cannot be sent: {why}; give it the type that the statement takes there, or cast in the statement, as in `{name}::bigint`: {}",
        shape.text
    ))
}

/// What a caller is told whose transaction was run again and again in vain.
pub(crate) fn conflict_with_others() -> Error {
    Error::conflict("other changes to the same data kept getting in the way; try again")
}

/// Whether a statement failed only because an earlier one of its transaction had.
pub(crate) fn follows_a_failure(error: &Error) -> bool {
    driver_of(error).is_some_and(|why| why.code() == Some(&SqlState::IN_FAILED_SQL_TRANSACTION))
}

/// Whether the error says that the connection is gone, or that the server is going or coming up.
pub(crate) fn is_disconnect(error: &tokio_postgres::Error) -> bool {
    if error.is_closed() {
        return true;
    }
    match error.code() {
        Some(state) => {
            matches!(*state, SqlState::ADMIN_SHUTDOWN | SqlState::CRASH_SHUTDOWN | SqlState::CANNOT_CONNECT_NOW)
                || state.code().starts_with("08")
        }
        None => std::iter::successors(std::error::Error::source(error), |e| e.source())
            .any(|cause| cause.is::<std::io::Error>()),
    }
}

/// Whether the same transaction may succeed when run again from its start.
pub(crate) fn is_conflict(error: &tokio_postgres::Error) -> bool {
    matches!(error.code(), Some(&SqlState::T_R_SERIALIZATION_FAILURE | &SqlState::T_R_DEADLOCK_DETECTED))
}

/// Whether a replica may have failed at a read only because it is one: what it replays was in the read's way, or it has not come to a
/// migration yet. The primary can be asked then.
pub(crate) fn is_a_replicas(error: &tokio_postgres::Error) -> bool {
    let not_there = [
        &SqlState::UNDEFINED_TABLE,
        &SqlState::UNDEFINED_COLUMN,
        &SqlState::UNDEFINED_FUNCTION,
        &SqlState::UNDEFINED_OBJECT,
    ];
    is_conflict(error) || error.code().is_some_and(|code| not_there.contains(&code))
}

/// Whether a statement was prepared against a schema that has changed since: prepare it again and run once more.
pub(crate) fn is_stale_plan(error: &tokio_postgres::Error) -> bool {
    match error.as_db_error() {
        // 0A000 is many things; this one is told by its routine, which no translation changes.
        Some(db) if *db.code() == SqlState::FEATURE_NOT_SUPPORTED => db.routine() == Some("RevalidateCachedQuery"),
        Some(db) => *db.code() == SqlState::INVALID_SQL_STATEMENT_NAME,
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::realtime::differential::Place;

    #[tokio::test]
    async fn the_values_of_a_row_do_not_get_into_the_log() {
        let place = Place::make().await;
        let client = &place.client;
        client.batch_execute("CREATE TEMP TABLE people (email text UNIQUE, hash text NOT NULL)").await.unwrap();
        client.execute("INSERT INTO people VALUES ('ada@example.org', 'x')", &[]).await.unwrap();
        for (statement, said) in [
            ("INSERT INTO people VALUES ('ada@example.org', 'x')", "constraint people_email_key"),
            ("INSERT INTO people VALUES ('ada@example.org', NULL)", "column hash"),
        ] {
            let why = client.execute(statement, &[]).await.unwrap_err();
            assert!(why.as_db_error().unwrap().detail().unwrap().contains("ada@"));
            let error = from_driver(why);
            let logged = format!("{error:?} {error} {:?}", error.source());
            assert!(logged.contains(said) && !logged.contains("ada@"), "{logged}");
        }
    }
}
