//! The floors of the benchmarks: what a person would write by hand who wants nothing but speed.
//!
//! `floors dp PORT URL` serves a read by primary key and a mutation of one insert with axum, tokio-postgres and a pool;
//! `floors sqlx PORT URL` serves the read with sqlx and its defaults. One thread, 16 connections, no log, no metrics, nobody to
//! sign in. Whatever fails here ends in a 500, which the load client takes as the end of the measurement.
//!
//! `floors broadcast PORT` tells everybody who is connected what it is told, see `broadcast`.

mod broadcast;

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::serve::ListenerExt;
use axum::{Json, Router};
use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio_postgres::{IsolationLevel, NoTls, Row};

const CONNECTIONS: usize = 16;
const FIND: &str = "SELECT id, name, qty, price, note FROM items WHERE id = $1";
const ADD: &str = "INSERT INTO audit (item_id, note) VALUES ($1, $2) RETURNING id, item_id, note";

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

enum Database {
    Pooled(Pool),
    Sqlx(PgPool),
}

#[derive(Deserialize)]
struct Find {
    id: i64,
}

#[derive(Serialize, sqlx::FromRow)]
struct Item {
    id: i64,
    name: String,
    qty: i32,
    price: f64,
    note: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Add {
    item_id: i64,
    note: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    id: i64,
    item_id: i64,
    note: Option<String>,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["broadcast", port] => runtime.block_on(broadcast::serve(port.parse()?)),
        [mode, port, url] => runtime.block_on(serve(mode, port.parse()?, url)),
        _ => Err("usage: floors dp|sqlx PORT URL, or floors broadcast PORT".into()),
    }
}

async fn serve(mode: &str, port: u16, url: &str) -> Result<()> {
    let database = match mode {
        "dp" => {
            let config = ManagerConfig { recycling_method: RecyclingMethod::Fast };
            Database::Pooled(
                Pool::builder(Manager::from_config(url.parse()?, NoTls, config)).max_size(CONNECTIONS).build()?,
            )
        }
        "sqlx" => {
            let size = CONNECTIONS as u32;
            Database::Sqlx(PgPoolOptions::new().max_connections(size).min_connections(size).connect(url).await?)
        }
        other => return Err(format!("`{other}` is neither dp nor sqlx").into()),
    };
    let routes = Router::new().route("/rpc/get_item", post(get_item)).route("/rpc/add_audit", post(add_audit));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    let listener = listener.tap_io(|stream| {
        if let Err(why) = stream.set_nodelay(true) {
            eprintln!("a connection stays without TCP_NODELAY: {why}");
        }
    });
    axum::serve(listener, routes.with_state(Arc::new(database))).await?;
    Ok(())
}

async fn get_item(State(database): State<Arc<Database>>, Json(args): Json<Find>) -> Response {
    answer(find(&database, args.id).await)
}

async fn add_audit(State(database): State<Arc<Database>>, Json(args): Json<Add>) -> Response {
    answer(add(&database, &args).await)
}

fn answer<T: Serialize>(result: Result<T>) -> Response {
    match result {
        Ok(value) => Json(value).into_response(),
        Err(why) => {
            eprintln!("{why}");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn find(database: &Database, id: i64) -> Result<Item> {
    match database {
        Database::Pooled(pool) => {
            let client = pool.get().await?;
            let statement = client.prepare_cached(FIND).await?;
            Ok(item(&client.query_one(&statement, &[&id]).await?))
        }
        Database::Sqlx(pool) => Ok(sqlx::query_as::<_, Item>(FIND).bind(id).fetch_one(pool).await?),
    }
}

/// One connection, one statement after the other.
async fn add(database: &Database, args: &Add) -> Result<Entry> {
    let Database::Pooled(pool) = database else { return Err("the mutation is measured with dp only".into()) };
    let mut client = pool.get().await?;
    let transaction = client.build_transaction().isolation_level(IsolationLevel::Serializable).start().await?;
    let statement = transaction.prepare_cached(ADD).await?;
    let row = transaction.query_one(&statement, &[&args.item_id, &args.note]).await?;
    transaction.commit().await?;
    Ok(Entry { id: row.get(0), item_id: row.get(1), note: row.get(2) })
}

fn item(row: &Row) -> Item {
    Item { id: row.get(0), name: row.get(1), qty: row.get(2), price: row.get(3), note: row.get(4) }
}
