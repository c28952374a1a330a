//! A real database for these tests: the server that all tests of a run share.

use std::path::PathBuf;

use forge_pg::{Options, PrivateServer};
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

/// A client on tables of its own: an empty schema with this room's migration.
pub(super) async fn testing_client() -> Client {
    let [client] = testing_clients().await;
    client
}

/// Several clients on the same tables.
pub(super) async fn testing_clients<const N: usize>() -> [Client; N] {
    let url = match std::env::var("FORGE_TEST_DATABASE_URL") {
        Ok(url) => url,
        Err(_) => {
            let workspace = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
            PrivateServer::ensure(Options::test(workspace.canonicalize().unwrap())).await.unwrap().url("postgres")
        }
    };
    let schema = format!("auth_{}", Uuid::now_v7().simple());
    let mut clients = Vec::new();
    for n in 0..N {
        let client = connect(&url).await;
        if n == 0 {
            client.batch_execute(&format!("CREATE SCHEMA {schema}")).await.unwrap();
        }
        client.batch_execute(&format!("SET search_path = {schema}")).await.unwrap();
        if n == 0 {
            client.batch_execute(include_str!("../../../migrations/0002_auth.sql")).await.unwrap();
        }
        clients.push(client);
    }
    clients.try_into().unwrap()
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}
