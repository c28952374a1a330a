//! Where worlds live: a database, connections to it and a reader of its changes. Several worlds do so one after the other, as all of this
//! costs more than most of what happens in them.

use std::path::PathBuf;

use forge_pg::{Options, PrivateServer, Templates, TestDatabase};
use tokio::sync::OnceCell;
use tokio_postgres::{Client, NoTls};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::config::{CaptureMode, Config, Mode, Secret};
use crate::db::Database;
use crate::feed::ChangeFeed;
use crate::migrate::Migrator;

/// How the server behaves for the sake of the test. Results do not depend on it, but time does: tables are so small that a loop over them
/// is faster than whatever has to be built first, and planning a statement again for its arguments is not worth it.
const SETTINGS: [(&str, &str); 5] = [
    ("search_path", "w, public"),
    ("plan_cache_mode", "force_generic_plan"),
    ("jit", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
];

/// A database to test in.
pub(crate) struct Place {
    pub(crate) url: String,
    pub(crate) database: Database,
    pub(crate) feed: ChangeFeed,
    /// Writes.
    pub(crate) client: Client,
    /// Has a transaction open now and then.
    pub(crate) straddler: Client,
    /// Whoever reads the log ends with it.
    _reading: DropGuard,
    test_database: TestDatabase,
}

/// Databases on the server that all tests share.
pub(crate) async fn templates() -> &'static Templates {
    static TEMPLATES: OnceCell<Templates> = OnceCell::const_new();
    let make = async || match std::env::var("FORGE_TEST_DATABASE_URL") {
        Ok(url) if !url.is_empty() => Templates::on_url(url),
        _ => {
            let workspace = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
            Templates::new(&PrivateServer::ensure(Options::test(workspace.canonicalize().unwrap())).await.unwrap())
        }
    };
    TEMPLATES.get_or_init(make).await
}

impl Place {
    /// A place whose changes are rows.
    pub(crate) async fn make() -> Self {
        Self::with(CaptureMode::Changelog).await
    }

    /// A place whose changes are read where they are said to be written. Has to be called, and used, in one runtime.
    pub(crate) async fn with(capture: CaptureMode) -> Self {
        let test_database = templates().await.database("differential: an empty database", async |_| Ok(())).await.unwrap();
        let url = test_database.url().to_owned();
        let mut config = config(&url);
        config.reactivity.capture = capture;
        Migrator::new(&config.database, &config.migrations, Vec::new()).unwrap().run(|_| {}).await.unwrap();
        let client = connect(&url).await;
        let name: String = client.query_one("SELECT quote_ident(current_database())", &[]).await.unwrap().get(0);
        for (setting, value) in SETTINGS {
            client.batch_execute(&format!("ALTER DATABASE {name} SET {setting} = {value}")).await.unwrap();
        }
        let database = Database::new("differential", &config.database).unwrap();
        // As a node does it, but for the keeper's later looks: nothing happens to this decision.
        let (feed, reader, mut keeper) = crate::feed::feed(&database, &config.reactivity);
        keeper.decide().await.unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(reader.run(stop.clone()));
        Self {
            database,
            feed,
            // Of its own settings only now.
            client: connect(&url).await,
            straddler: connect(&url).await,
            url,
            _reading: stop.drop_guard(),
            test_database,
        }
    }

    /// Ends it, so that nothing is left on the server.
    pub(crate) async fn remove(self) {
        let Self { database, feed, client, straddler, _reading, test_database, .. } = self;
        drop((database, feed, client, straddler, _reading));
        test_database.remove().await.unwrap();
    }
}

/// The settings of whoever is in such a database.
pub(crate) fn config(url: &str) -> Config {
    let mut config = Config::defaults(Mode::Test);
    config.database.url = Some(Secret::new(url.to_owned()));
    config
}

pub(crate) async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}
