//! The driver's own client, lent out.

use std::ops::Deref;

use forge_core::{Error, Result};
use tokio::sync::OwnedSemaphorePermit;
use tokio_postgres::Client;

use super::pool::Lease;

/// The driver's own client on a connection of its own, read-only. Closed when dropped.
pub struct RawClient {
    client: Client,
    /// The connection counts as lent from the pool for as long as this lives.
    _slot: Option<OwnedSemaphorePermit>,
}

impl RawClient {
    pub(super) fn new(lease: Lease) -> Result<Self> {
        let (connection, slot) = lease.detach().ok_or_else(|| Error::internal("the connection is gone"))?;
        Ok(Self { client: connection.into_client(), _slot: slot })
    }

    pub(super) async fn read_only(self) -> Result<Self> {
        let read_only = "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY";
        self.client.batch_execute(read_only).await.map_err(super::error::from_driver)?;
        Ok(self)
    }
}

impl Deref for RawClient {
    type Target = Client;
    fn deref(&self) -> &Client {
        &self.client
    }
}

impl std::fmt::Debug for RawClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RawClient")
    }
}
