//! A real database for these tests.

use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

/// A client on tables of its own: an empty schema with this room's migration.
pub(super) async fn testing_client() -> Client {
    let [client] = testing_clients().await;
    client
}

/// Several clients on the same tables.
pub(super) async fn testing_clients<const N: usize>() -> [Client; N] {
    let schema = format!("auth_{}", Uuid::now_v7().simple());
    let mut clients = Vec::new();
    for n in 0..N {
        let client = connect().await;
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

async fn connect() -> Client {
    let url = std::env::var("FORGE_TEST_DATABASE_URL")
        .expect("FORGE_TEST_DATABASE_URL names a PostgreSQL in which these tests may make schemas");
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}
