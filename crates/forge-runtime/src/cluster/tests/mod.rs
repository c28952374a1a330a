//! Hearts that are beaten by hand, several in one process, on a real database.

mod bus;
mod leaders;
mod nodes;

use std::time::Duration;

use forge_pg::TestDatabase;
use tokio::sync::watch;
use tokio_postgres::Client;

use super::{Cluster, Heart};
use crate::app::Stage;
use crate::config::{Config, DatabaseConfig, Secret};
use crate::db::Database;
use crate::realtime::differential::{connect, templates};

/// A database with this room's tables, and a look at them.
struct Place {
    database: TestDatabase,
    sql: Client,
}

/// A node as far as this room is concerned. It beats when it is told to.
struct Node {
    cluster: Cluster,
    heart: Heart,
    stage: watch::Sender<Stage>,
}

impl Place {
    async fn make() -> Self {
        crate::install_crypto();
        let tables = concat!(
            include_str!("../../../migrations/0007_cluster.sql"),
            include_str!("../../../migrations/0013_nodes.sql")
        );
        let migrate = async |url: String| {
            connect(&url).await.batch_execute(tables).await.unwrap();
            Ok::<_, forge_core::Error>(())
        };
        let database = templates().await.database(tables, migrate).await.unwrap();
        let sql = connect(database.url()).await;
        Self { database, sql }
    }

    /// A node that has not joined yet.
    fn node(&self) -> Node {
        self.node_at(self.database.url())
    }

    fn node_at(&self, url: &str) -> Node {
        let defaults = Config::default();
        let (stage, seen) = watch::channel(Stage::Ready);
        let cluster = Cluster::new();
        let heart = Heart::new(
            cluster.clone(),
            &self.reached_at(url),
            (&defaults.cluster, &defaults.node),
            (Some("127.0.0.1:8080".into()), "1.2.3", vec!["default", "mail"]),
            seen,
        );
        Node { cluster, heart: heart.unwrap(), stage }
    }

    fn reached_at(&self, url: &str) -> Database {
        let config = DatabaseConfig { url: Some(Secret::new(url)), ..DatabaseConfig::default() };
        Database::new("cluster", &config).unwrap()
    }

    async fn text(&self, statement: &str) -> String {
        let row = self.sql.query_one(&format!("SELECT ({statement})::text"), &[]).await.unwrap();
        row.get::<_, Option<String>>(0).unwrap_or_default()
    }

    /// Makes it look as if a node had last beaten so long ago.
    async fn age(&self, node: &Node, seconds: i32) {
        let age = "UPDATE forge_nodes SET last_heartbeat = last_heartbeat - make_interval(secs => $2) WHERE id = $1";
        self.sql.execute(age, &[&node.id(), &f64::from(seconds)]).await.unwrap();
    }

    /// Ends the session that a node beats with, and waits until it has.
    async fn cut(&self, node: &Node) {
        let end = "SELECT pg_terminate_backend(backend_pid, 10000) FROM forge_nodes WHERE id = $1";
        assert!(self.sql.query_one(end, &[&node.id()]).await.unwrap().get::<_, bool>(0));
    }

    async fn status(&self, id: uuid::Uuid) -> String {
        self.text(&format!("SELECT status FROM forge_nodes WHERE id = '{id}'")).await
    }
}

impl Node {
    fn id(&self) -> uuid::Uuid {
        self.cluster.info().me().unwrap()
    }

    async fn beats(&mut self) {
        self.heart.run_once().await.unwrap();
    }
}

/// How long anything may take that happens at once on an idle machine.
const PATIENCE: Duration = Duration::from_secs(30);
