//! Who did what.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use forge_core::Result;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use tokio_postgres::Row;
use uuid::Uuid;

use super::Admin;
use crate::db::error::from_driver;
use crate::db::{Database, Shape};

pub(super) static ADD: LazyLock<Arc<Shape>> = LazyLock::new(|| Shape::of(include_str!("sql/add.sql")));
static LIST: LazyLock<Arc<Shape>> = LazyLock::new(|| Shape::of(include_str!("sql/list.sql")));
static SWEEP: LazyLock<Arc<Shape>> = LazyLock::new(|| Shape::of(include_str!("sql/sweep.sql")));

/// An action that was done.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AuditRow {
    /// Its place among the others.
    pub(crate) id: Uuid,
    at: Timestamp,
    who: String,
    action: String,
    target: Option<String>,
    count: i64,
    details: Option<Value>,
    request_id: Option<String>,
    address: Option<String>,
}

impl AuditRow {
    fn read(row: &Row) -> Result<Self> {
        let details: Option<String> = row.try_get(6).map_err(from_driver)?;
        Ok(Self {
            id: row.try_get(0).map_err(from_driver)?,
            at: row.try_get(1).map_err(from_driver)?,
            who: row.try_get(2).map_err(from_driver)?,
            action: row.try_get(3).map_err(from_driver)?,
            target: row.try_get(4).map_err(from_driver)?,
            count: row.try_get(5).map_err(from_driver)?,
            details: details.map(|text| serde_json::from_str(&text)).transpose()?,
            request_id: row.try_get(7).map_err(from_driver)?,
            address: row.try_get(8).map_err(from_driver)?,
        })
    }
}

impl Admin {
    /// What was done, the newest first, before a place.
    pub(crate) async fn audit(&self, before: Option<Uuid>, limit: i64) -> Result<Vec<AuditRow>> {
        let look = self.look().await?;
        let answer = look.run(&LIST, &[&before.unwrap_or(Uuid::max()), &limit]).await?;
        look.end().await;
        answer.rows.iter().map(AuditRow::read).collect()
    }
}

/// Forgets what was done longer ago than that. Returns whether there is more.
pub(crate) async fn sweep(database: &Database, retain: Duration) -> Result<bool> {
    let micros = i64::try_from(retain.as_micros()).unwrap_or(i64::MAX);
    Ok(database.primary().get().await?.query(&SWEEP, &[&micros]).await.map_err(from_driver)?.affected >= 1000)
}
