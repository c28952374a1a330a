//! Who calls, by what the request carries.

use forge_core::Result;
use forge_core::auth::AuthContext;
use http::{HeaderMap, Method};

use crate::config::Config;
use crate::db::Database;

/// Knows who calls.
#[derive(Debug)]
pub struct Authenticator {}

impl Authenticator {
    pub(crate) fn new(_config: &Config, _database: &Database) -> Result<Self> {
        Ok(Self {})
    }

    pub(crate) async fn authenticate(&self, _method: &Method, _headers: &HeaderMap) -> Result<AuthContext> {
        Ok(AuthContext::anonymous())
    }
}
