//! Whether the names in statements still stand for what they stood for.
//!
//! Where a view is redefined, or another table takes a table's name, no statement fails: PostgreSQL plans it anew, and it reads what nobody
//! may watch. So names are looked up again, all in one statement.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use forge_core::Result;
use postgres_types::Type;

use crate::db::Database;
use crate::db::error::from_driver;
use crate::read_set::Reading;

/// How often names are looked up while somebody is subscribed: for so long a redefinition may go unnoticed.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(10);

const CHANGED: &str = concat!(include_str!("sql/definitions.sql"), include_str!("../read_set/sql/mark.sql"));

/// What names stood for when statements were read.
#[derive(Debug)]
pub(super) struct Definitions {
    marks: HashMap<String, String>,
    due: Instant,
}

impl Definitions {
    pub(super) fn new() -> Self {
        Self { marks: HashMap::new(), due: Instant::now() + LOOK_EVERY }
    }

    /// Names of a statement that was read. When one stands for something else by now than in another statement, the next look shows it.
    pub(super) fn note(&mut self, reading: &Reading) {
        for (name, mark) in &reading.marks {
            self.marks.entry(name.clone()).or_insert_with(|| mark.clone());
        }
    }

    /// What was known of them is not used any more.
    pub(super) fn forget(&mut self) {
        self.marks.clear();
    }

    /// When to look again, if ever.
    pub(super) fn due(&self) -> Option<Instant> {
        (!self.marks.is_empty()).then_some(self.due)
    }

    /// Whether a name stands for something else.
    ///
    /// # Errors
    /// Those of the database. The next look is due later all the same.
    pub(super) async fn have_changed(&mut self, database: &Database) -> Result<bool> {
        self.due = Instant::now() + LOOK_EVERY;
        let (names, marks): (Vec<&str>, Vec<&str>) =
            self.marks.iter().map(|(name, mark)| (name.as_str(), mark.as_str())).unzip();
        let lease = database.live().get().await?;
        let rows = lease.client().query_typed(CHANGED, &[(&names, Type::TEXT_ARRAY), (&marks, Type::TEXT_ARRAY)]).await;
        let rows = rows.map_err(from_driver)?;
        rows.first().map_or(Ok(false), |row| row.try_get(0).map_err(from_driver))
    }
}
