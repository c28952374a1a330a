//! The check of an app's SQL: every `sql!` statement is prepared on the migrated database, and what it returns is compared with
//! the Rust type it is read as. No cache files: the statements are linked into the program.

use forge_core::Result;

use super::error;
use super::sql::CheckedSql;
use super::{Database, Verb};

/// Checks all statements that are linked into this program. Returns how many there are, and what is wrong with which.
///
/// # Errors
/// `DATABASE_UNAVAILABLE` when the database cannot be reached.
pub(crate) async fn check_statements(database: &Database) -> Result<(usize, Vec<String>)> {
    let lease = database.primary().get().await?;
    let mut problems = Vec::new();
    let mut checked = 0;
    for sql in CheckedSql::all() {
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
        match lease.client().prepare(statement.text()).await {
            Err(why) if error::is_disconnect(&why) => return Err(error::from_driver(why)),
            Err(why) => {
                let text = why.as_db_error().map_or_else(|| why.to_string(), |db| db.message().to_owned());
                problems.push(format!("{}: {text}\n    {}", statement.place(), statement.text()));
            }
            Ok(prepared) => {
                for problem in sql.compare(&prepared) {
                    problems.push(format!("{}: {problem}\n    {}", statement.place(), statement.text()));
                }
            }
        }
    }
    problems.sort();
    Ok((checked, problems))
}

/// Changes whenever a `sql!` statement of this program does: part of the name of test templates, so that statements are checked
/// again when one of them was edited.
pub(crate) fn statements_fingerprint() -> String {
    use sha2::Digest as _;
    let mut texts: Vec<&str> = CheckedSql::all().map(|sql| sql.statement.text()).collect();
    texts.sort_unstable();
    let mut hash = sha2::Sha256::new();
    for text in texts {
        hash.update(text);
        hash.update([0]);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
