//! What an app runs in on a developer's machine: a database, a secret and an admin token, where the configuration names none.

use forge_core::Result;
use forge_pg::PrivateServer;

use crate::admin::place;
use crate::app::App;
use crate::database::{self, Database};
use crate::secret;
use crate::status::Status;

/// What an app runs in.
#[derive(Debug)]
pub(crate) struct Surroundings {
    database: Database,
    secret: Option<String>,
    admin_token: Option<String>,
}

impl Surroundings {
    /// What the configuration names; what it does not name is made.
    ///
    /// # Errors
    /// What is wrong with the configuration, or why a private database server cannot be had.
    pub(crate) async fn of(app: &App, status: &Status) -> Result<Self> {
        let config = app.config()?;
        let database = database::of(app, &config, status).await?;
        status.line(&format!("database: {}", database.words));
        let secret =
            if config.config.security.auth.secret.is_none() { Some(secret::of(app, secret::SIGNING)?) } else { None };
        let admin = &config.config.admin;
        let said = admin.token.is_some() || !admin.tokens.is_empty();
        let admin_token = if said { None } else { Some(place::dev_token(app)?) };
        Ok(Self { database, secret, admin_token })
    }

    /// The private server, if there is one.
    pub(crate) fn server(&self) -> Option<&PrivateServer> {
        self.database.server.as_ref()
    }

    /// What tells the app about it.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let url = self.database.server.is_some().then(|| ("DATABASE_URL".to_owned(), self.database.url.clone()));
        let secret = self.secret.clone().map(|secret| ("FORGE_SECRET".to_owned(), secret));
        let admin_token = self.admin_token.clone().map(|token| ("FORGE_ADMIN_TOKEN".to_owned(), token));
        url.into_iter().chain(secret).chain(admin_token).collect()
    }
}
