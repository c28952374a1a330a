//! One migration file.

use forge_core::{Error, Result};
use sha2::{Digest as _, Sha256};

use crate::db::lexer;

/// A migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// `forge` or `app`.
    pub set: &'static str,
    /// The number its name begins with.
    pub version: u64,
    /// The rest of its name.
    pub name: String,
    /// What is run.
    pub sql: String,
    /// SHA-256 of the file, in hex. Line ends do not count, so that a checkout on another system is the same file.
    pub checksum: String,
    /// Whether it runs in a transaction.
    pub transactional: bool,
}

impl Migration {
    /// Reads a file.
    ///
    /// # Errors
    /// `MIGRATION_NAME` when the file is not called like a migration, `MIGRATION_DIRECTIVE` when it has a directive that is not
    /// known, or begins or ends a transaction of its own.
    pub fn parse(set: &'static str, file: &str, content: &str) -> Result<Self> {
        let wrong_name = || {
            Error::config(
                "MIGRATION_NAME",
                format!(
                    "migrations/{file}: a migration is called <version>_<name>.sql, such as 0001_cards.sql or 20261122193000_cards.sql"
                ),
            )
        };
        let stem = file.strip_suffix(".sql").ok_or_else(wrong_name)?;
        let (version, name) = stem.split_once('_').ok_or_else(wrong_name)?;
        // `20261122_193000_name` is one version as well.
        let (version, name) = match name.split_once('_') {
            Some((time, name)) if version.len() == 8 && time.len() == 6 && time.bytes().all(|b| b.is_ascii_digit()) => {
                (format!("{version}{time}"), name)
            }
            _ => (version.to_owned(), name),
        };
        let version = version.parse().map_err(|_| wrong_name())?;
        if name.is_empty() {
            return Err(wrong_name());
        }
        let content = content.replace("\r\n", "\n");
        let mut transactional = true;
        let mut sql = content.as_str();
        let mut offset = 0;
        for line in content.split_inclusive('\n') {
            let directive = line.trim().strip_prefix("--").map(str::trim_start).filter(|text| text.starts_with('@'));
            match directive.map(|text| text.split_whitespace().collect::<Vec<_>>()).as_deref() {
                None => {}
                Some(["@transactional", "false"]) => transactional = false,
                Some(["@transactional", "true"]) => transactional = true,
                Some(["@up"]) => {}
                Some(["@down"]) => {
                    sql = &content[..offset];
                    break;
                }
                Some(other) => {
                    return Err(Error::config(
                        "MIGRATION_DIRECTIVE",
                        format!(
                            "migrations/{file}: `-- {}` is not known; there are `-- @transactional false` and `-- @down`",
                            other.join(" ")
                        ),
                    ));
                }
            }
            offset += line.len();
        }
        if transactional && let Some((line, word)) = transaction_control(sql) {
            return Err(Error::config(
                "MIGRATION_DIRECTIVE",
                format!(
                    "migrations/{file}, line {line}: `{word}` begins or ends a transaction, but the whole file is one; take it out, \
                     or run the file statement by statement with `-- @transactional false`"
                ),
            ));
        }
        let checksum = Sha256::digest(content.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { set, version, name: name.to_owned(), sql: sql.to_owned(), checksum, transactional })
    }

    /// Version and name, as a person writes them.
    pub fn label(&self) -> String {
        format!("{:04}_{}", self.version, self.name)
    }
}

/// The first statement that begins or ends a transaction: its line, and its first word. With it, a file that fails later would have half an effect.
fn transaction_control(sql: &str) -> Option<(usize, String)> {
    lexer::statements(sql).into_iter().find_map(|statement| {
        let words = lexer::words(statement);
        let ends = match words.first()?.as_str() {
            "begin" | "start" | "commit" | "end" | "abort" => true,
            // Back to a savepoint is inside of it.
            "rollback" => !words.iter().any(|word| word == "to"),
            "prepare" => words.get(1).is_some_and(|word| word == "transaction"),
            _ => false,
        };
        let word = lexer::first_word(statement).filter(|_| ends)?;
        // Both are parts of the text.
        let before = &sql[..word.as_ptr() as usize - sql.as_ptr() as usize];
        Some((before.matches('\n').count() + 1, word.to_uppercase()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_one_transaction() {
        let refused = |sql: &str| {
            let said = Migration::parse("app", "0001_a.sql", sql).map_err(|why| why.message().to_owned());
            said.err().unwrap_or_default()
        };
        let said = refused("CREATE TABLE a (n int);\n-- Now.\ncommit;\nCREATE TABLE b (n int);");
        assert!(said.starts_with("migrations/0001_a.sql, line 3: `COMMIT` "), "{said}");
        for word in ["BEGIN", "start transaction", "END", "ABORT", "ROLLBACK", "PREPARE TRANSACTION 'a'"] {
            assert_ne!(refused(&format!("SELECT 1; {word};")), "", "{word}");
            assert_eq!(refused(&format!("-- @transactional false\nSELECT 1; {word};")), "", "{word}");
            assert_eq!(refused(&format!("SELECT 1;\n-- @down\n{word};")), "", "{word}");
        }
        let inside = "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; END; DO $$ BEGIN PERFORM 1; END $$;
                      SAVEPOINT a; ROLLBACK TO SAVEPOINT a; PREPARE p AS SELECT 1; SELECT 'BEGIN; COMMIT;'";
        assert_eq!(refused(inside), "");
    }
}
