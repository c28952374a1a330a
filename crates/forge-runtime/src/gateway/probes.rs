//! What machines ask a node: does it live, may it take traffic, how is it doing.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use http::{HeaderValue, StatusCode, header};
use serde_json::json;

use super::answer;
use crate::app::NodeParts;
use crate::app::Stage;
use crate::config::Config;
use crate::observability;

pub(super) fn routes(config: &Config) -> Router<NodeParts> {
    let routes = Router::new().route("/health", get(health)).route("/ready", get(ready));
    if config.observability.metrics_enabled { routes.route("/metrics", get(metrics)) } else { routes }
}

/// The process lives. Says nothing about the database.
async fn health(State(parts): State<NodeParts>) -> Response {
    answer::json(StatusCode::OK, json!({"status": "ok", "version": parts.app.version()}).to_string().into_bytes())
}

/// Whether this node may take traffic: it has started, is not stopping, its database is there, and the other nodes count on it.
async fn ready(State(parts): State<NodeParts>) -> Response {
    let stage = parts.stage.borrow().clone();
    let health = parts.database.health();
    let standing = *parts.cluster.standing().borrow();
    let ready = stage == Stage::Ready && health.primary && standing.takes_as().is_some();
    let body = json!({
        "status": if ready { "ready" } else { "not ready" },
        "stage": match stage {
            Stage::Starting => "starting",
            Stage::Ready => "running",
            Stage::Stopping => "stopping",
        },
        "database": if health.primary { "ok" } else { "unreachable" },
        "node": standing.as_str(),
        "replicas": {"healthy": health.replicas_healthy, "total": health.replicas_total},
    });
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    answer::json(status, body.to_string().into_bytes())
}

/// The metrics, in the text format that Prometheus reads.
async fn metrics() -> Response {
    match observability::render() {
        Ok(text) => {
            let mut response = Response::new(text.into());
            let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            response
        }
        Err(error) => answer::failure(&error, ""),
    }
}
