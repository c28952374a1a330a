//! `POST /auth/refresh`: a new access token for a session that lives.
//!
//! A browser sends its refresh token as a cookie and gets both new ones as cookies; scripts see neither. Other clients send
//! `{"refreshToken"}` and get the new ones in the answer. A page learns that it is time from `x-forge-session: renew` on the
//! answers to its calls.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use axum::routing::post;
use axum::{Extension, Router};
use forge_core::human::format_duration;
use forge_core::request::RequestMetadata;
use forge_core::{Error, ErrorKind, Result};
use http::Request;
use serde::Deserialize;
use serde_json::json;

use super::room::Place;
use super::{answer, content};
use crate::app::NodeParts;
use crate::auth::{Refreshed, SessionTokens};
use crate::db::error;

/// How long renewing a session may take. The token may be presented again for twice as long, so a client that is told to try again can: see
/// `GRACE` in `auth/sessions.rs`.
const RENEW_MAX: Duration = Duration::from_secs(5);

pub(super) fn routes() -> Router<NodeParts> {
    Router::new().route("/auth/refresh", post(refresh))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Renewal {
    refresh_token: String,
}

async fn refresh(
    State(parts): State<NodeParts>,
    Extension(place): Extension<Arc<Place>>,
    request: Request<Body>,
) -> Response {
    let (head, body) = request.into_parts();
    let request_id = head.extensions.get::<Arc<RequestMetadata>>().map(|m| m.request_id.clone()).unwrap_or_default();
    let by_cookie = match parts.authenticator.refresh_token(&head.method, &head.headers) {
        Ok(token) => token.map(str::to_owned),
        Err(why) => return answer::failure(&why, &request_id),
    };
    let renewed = async {
        let token = match &by_cookie {
            Some(token) => token.clone(),
            None => {
                content::check(&head.headers)?;
                let body = place.read(body, &parts.config.gateway).await?;
                let missing = |_| Error::unauthorized("there is no refresh token: neither a cookie nor {\"refreshToken\"}");
                serde_json::from_slice::<Renewal>(&body).map_err(missing)?.refresh_token
            }
        };
        // What is dropped then is cancelled on the server, and its connection free for others.
        let limit = parts.config.function.timeout.min(RENEW_MAX);
        tokio::time::timeout(limit, renew(&parts, &token)).await.unwrap_or_else(|_| {
            let limit = format_duration(limit);
            Err(Error::timeout(format!("renewing a session took longer than {limit}; try again")))
        })
    }
    .await;
    let made = match &renewed {
        // A page needs to know how long the new token lasts, and nothing else of it.
        Ok(tokens) if by_cookie.is_some() => json!({"accessExpiresAt": tokens.access_expires_at}),
        Ok(tokens) => json!({
            "accessToken": tokens.access,
            "accessExpiresAt": tokens.access_expires_at,
            "refreshToken": tokens.refresh,
        }),
        Err(why) => {
            let mut response = answer::failure(why, &request_id);
            // A session that has ended leaves no cookies behind, or the browser could not even sign in again.
            if why.kind() == ErrorKind::Unauthorized
                && let Err(why) = parts.authenticator.sign_out(response.headers_mut())
            {
                return answer::failure(&why, &request_id);
            }
            return response;
        }
    };
    let mut response = answer::success(made.to_string().as_bytes(), &request_id);
    if let (Ok(tokens), Some(_)) = (&renewed, &by_cookie)
        && let Err(why) = parts.authenticator.sign_in(tokens, response.headers_mut())
    {
        return answer::failure(&why, &request_id);
    }
    response
}

async fn renew(parts: &NodeParts, token: &str) -> Result<SessionTokens> {
    let sessions = parts.accounts.sessions()?;
    let lease = parts.database.primary().get().await?;
    lease.busy();
    let client = lease.client();
    client.batch_execute("BEGIN").await.map_err(error::from_driver)?;
    let refreshed = sessions.refresh(client, token).await?;
    // The token that is traded in gives the same again for a while, so that an answer that is lost here harms nobody.
    lease.committing();
    client.batch_execute("COMMIT").await.map_err(error::from_driver)?;
    lease.clean();
    if let Refreshed::Reused { session_id, user_id } = &refreshed {
        tracing::warn!(%session_id, %user_id, "an old refresh token was used; the session was ended");
        parts.accounts.revocations.forget(*session_id);
    }
    refreshed.into_tokens()
}
