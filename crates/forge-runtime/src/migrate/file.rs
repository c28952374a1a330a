//! One migration file.

use forge_core::{Error, Result};
use sha2::{Digest as _, Sha256};

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
    /// known.
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
        let checksum = Sha256::digest(content.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { set, version, name: name.to_owned(), sql: sql.to_owned(), checksum, transactional })
    }

    /// Version and name, as a person writes them.
    pub fn label(&self) -> String {
        format!("{:04}_{}", self.version, self.name)
    }
}
