//! A database per test in some 20 ms: migrated once into a template, then copied.
//!
//! ```text
//! no template ─ lock ─ create ─ prepare ─ close to connections: ready ─ copy ─ copy ─ … ─ unused for a day: dropped
//! ```
//!
//! A template is ready exactly when it is marked as one and refuses connections, which happens in one statement at
//! the end. A half-made one is dropped by whoever finds it. Processes agree through an advisory lock in the
//! database that the address names, so all of them must come through the same one.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{OnceLock, mpsc};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use forge_core::{Error, Result};
use sha2::{Digest, Sha256};
use tokio_postgres::Client;

use crate::connect::{connect, quoted, with_database};
use crate::failure;
use crate::server::PrivateServer;
use crate::settings::MAINTENANCE_DATABASE;
use crate::sweep;

/// How long a call waits while another process prepares the same template, or while somebody is connected to it.
const DEADLINE: Duration = Duration::from_secs(180);
const PAUSE: Duration = Duration::from_millis(25);

/// Begins the name of every template.
pub(crate) const TEMPLATE_PREFIX: &str = "forge_template_";
/// Begins the name of every copy; then: machine, process id, second, number.
pub(crate) const COPY_PREFIX: &str = "forge_t_";
/// The first key of the advisory locks of templates; the second stands for the name. 0 is for the upkeep.
const LOCK_CLASS: i32 = 0x666f_7267;
pub(crate) const UPKEEP: i32 = 0;

/// Makes databases for tests on one server.
#[derive(Debug)]
pub struct Templates {
    admin_url: String,
    /// Keeps the server alive while it is in use here.
    server: Option<PrivateServer>,
    kept_up: AtomicBool,
}

impl Templates {
    /// Databases on a private server.
    pub fn new(server: &PrivateServer) -> Self {
        let mut templates = Self::on_url(server.url(MAINTENANCE_DATABASE));
        templates.server = Some(server.clone());
        templates
    }

    /// Databases on any PostgreSQL 15 or newer whose user may create databases. All processes that share templates
    /// must name the same database here. Without TLS.
    pub fn on_url(admin_url: impl Into<String>) -> Self {
        Self { admin_url: admin_url.into(), server: None, kept_up: AtomicBool::new(false) }
    }

    /// A new database, a copy of the template for `key`. If there is no such template yet, `prepare` gets the
    /// address of an empty database to make it of; it runs once per key, whoever asks and however many at a time.
    /// Pass as `key` a hash of everything that `prepare` depends on (all migrations). When it fails, nothing is
    /// left of the attempt and its error is returned. `prepare` must not leave connections that matter: those that
    /// are still open afterwards are closed.
    ///
    /// The first call also drops what earlier test runs left behind and templates that nobody used for a day.
    pub async fn database<F>(&self, key: &str, prepare: F) -> Result<TestDatabase>
    where
        F: AsyncFnOnce(String) -> Result<()>,
    {
        let admin = connect(&self.admin_url).await?;
        let template = template_name(key);
        if !self.kept_up.swap(true, Ordering::Relaxed) {
            sweep::keep_up(&admin, &template).await?;
        }
        let started = Instant::now();
        let mut prepare = Some(prepare);
        loop {
            if !is_ready(&admin, &template).await? {
                self.make_ready(&admin, &template, &mut prepare, started).await?;
            }
            let name = copy_name();
            let sql = format!("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY", quoted(&name), quoted(&template));
            let Err(error) = admin.batch_execute(&sql).await else {
                let url = with_database(&self.admin_url, &name)?;
                let (admin_url, server) = (self.admin_url.clone(), self.server.clone());
                return Ok(TestDatabase { name, url, admin_url, dropped: false, _server: server });
            };
            let state = error.code().map_or("", |code| code.code());
            // Somebody is connected to the template, or dropped it after we had looked.
            let passing = state == "55006" || (state == "3D000" && prepare.is_some());
            if !passing || started.elapsed() > DEADLINE {
                return Err(failure::sql(format!("copy the template database {template}"))(error));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Waits for the lock of a template and makes it, unless another process has made it meanwhile.
    async fn make_ready<F>(&self, admin: &Client, template: &str, prepare: &mut Option<F>, started: Instant) -> Result<()>
    where
        F: AsyncFnOnce(String) -> Result<()>,
    {
        // Never wait inside the server: a waiting statement holds a snapshot that hinders others.
        while !try_lock(admin, lock_key(template)).await? {
            if started.elapsed() > DEADLINE {
                return Err(Error::config(
                    failure::TEMPLATE_TIMEOUT,
                    format!(
                        "another process has been preparing the test database {template} for more than {} s. Look at \
                         what its migrations wait for (pg_stat_activity), or end it, and run the tests again.",
                        DEADLINE.as_secs()
                    ),
                ));
            }
            tokio::time::sleep(PAUSE).await;
        }
        let result = self.make_locked(admin, template, prepare).await;
        unlock(admin, lock_key(template)).await?;
        result
    }

    async fn make_locked<F>(&self, admin: &Client, template: &str, prepare: &mut Option<F>) -> Result<()>
    where
        F: AsyncFnOnce(String) -> Result<()>,
    {
        if is_ready(admin, template).await? {
            return Ok(());
        }
        let Some(prepare) = prepare.take() else {
            let message = format!("the template database {template} was dropped while it was being used");
            return Err(Error::config(failure::SQL_FAILED, message));
        };
        sweep::drop_database(admin, template).await?;
        let doing = || failure::sql(format!("make the template database {template}"));
        admin.batch_execute(&format!("CREATE DATABASE {}", quoted(template))).await.map_err(doing())?;
        if let Err(error) = prepare(with_database(&self.admin_url, template)?).await {
            // Its error is what the caller needs; what cannot be dropped now is when it is next asked for.
            let _ = sweep::drop_database(admin, template).await;
            return Err(error);
        }
        sweep::mark_used(admin, template).await?;
        let ready = format!("ALTER DATABASE {} WITH ALLOW_CONNECTIONS false IS_TEMPLATE true", quoted(template));
        admin.batch_execute(&ready).await.map_err(doing())?;
        sweep::close_sessions(admin, template).await
    }
}

/// A database of one test. It is dropped with the value, in the background; if the process ends before that, the
/// next test run drops it.
#[derive(Debug)]
pub struct TestDatabase {
    name: String,
    url: String,
    admin_url: String,
    dropped: bool,
    _server: Option<PrivateServer>,
}

impl TestDatabase {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Drops it now and waits for that. Sessions that are still open are closed.
    pub async fn remove(mut self) -> Result<()> {
        self.dropped = true;
        sweep::drop_database(&connect(&self.admin_url).await?, &self.name).await
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        if !self.dropped {
            drop_later(std::mem::take(&mut self.admin_url), std::mem::take(&mut self.name));
        }
    }
}

/// Hands a database to the one thread of this process that drops them. A test does not wait for it, and what it
/// does not get to, or fails to drop, is swept by the next run, which reports failures.
fn drop_later(admin_url: String, name: String) {
    static DOOMED: OnceLock<mpsc::Sender<(String, String)>> = OnceLock::new();
    let doomed = DOOMED.get_or_init(|| {
        let (sender, receiver) = mpsc::channel::<(String, String)>();
        std::thread::spawn(move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
                return;
            };
            for (admin_url, name) in receiver {
                let _ = runtime.block_on(async {
                    let admin = connect(&admin_url).await?;
                    sweep::drop_database(&admin, &name).await
                });
            }
        });
        sender
    });
    let _ = doomed.send((admin_url, name));
}

/// Whether a template is complete.
async fn is_ready(admin: &Client, template: &str) -> Result<bool> {
    let sql = "SELECT 1 FROM pg_database WHERE datname = $1 AND datistemplate AND NOT datallowconn";
    let rows = admin.query(sql, &[&template]).await.map_err(failure::sql("look for the template database"))?;
    Ok(!rows.is_empty())
}

pub(crate) async fn try_lock(admin: &Client, key: i32) -> Result<bool> {
    let row = admin.query_one("SELECT pg_try_advisory_lock($1, $2)", &[&LOCK_CLASS, &key]).await;
    Ok(row.map_err(failure::sql("take the lock of the test databases"))?.get(0))
}

pub(crate) async fn unlock(admin: &Client, key: i32) -> Result<()> {
    let row = admin.query_one("SELECT pg_advisory_unlock($1, $2)", &[&LOCK_CLASS, &key]).await;
    row.map(drop).map_err(failure::sql("give back the lock of the test databases"))
}

fn template_name(key: &str) -> String {
    let digest = Sha256::digest(key);
    let hex: String = digest[..10].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{TEMPLATE_PREFIX}{hex}")
}

/// The second key of a template's lock; never that of the upkeep.
pub(crate) fn lock_key(template: &str) -> i32 {
    let digest = Sha256::digest(template);
    i32::from_le_bytes([digest[0], digest[1], digest[2], digest[3]]).max(UPKEEP + 1)
}

/// A name that no other process on any machine makes, and that tells who made it and when.
fn copy_name() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    format!("{COPY_PREFIX}{}_{}_{now}_{number}", sweep::this_machine(), std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_and_differ() {
        assert_ne!(template_name("a"), template_name("b"));
        assert_ne!(copy_name(), copy_name());
        // PostgreSQL cuts names after 63 bytes.
        assert!(template_name("a").len() < 63 && copy_name().len() < 63);
    }

    #[test]
    fn a_lock_of_a_template_is_never_that_of_the_upkeep() {
        assert!((0..1000).all(|n| lock_key(&n.to_string()) != UPKEEP));
    }
}
