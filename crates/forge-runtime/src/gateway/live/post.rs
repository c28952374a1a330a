//! `POST /events/{session}`: what the client of an event stream sends.
//!
//! Behind a plain balancer a request may reach another node than the stream. Then the message is left in the database, and the change
//! feed tells the session's node: some 20 ms later it is there. Messages arrive in order if the client waits for one answer before it sends
//! the next, as a session looks for what was left for it before it takes in what comes to its own node.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::Path;
use axum::response::Response;
use forge_core::request::RequestMetadata;
use forge_core::{Error, ErrorKind, Result};
use http::{HeaderName, HeaderValue, Method, Request, StatusCode};

use super::hub::Hub;
use super::message::Wanted;
use crate::gateway::authenticator::CookieFindings;
use crate::gateway::room::Place;
use crate::gateway::{answer, content};

const SESSION: HeaderName = HeaderName::from_static("x-forge-session");

pub(super) async fn take(
    Extension(hub): Extension<Arc<Hub>>,
    Extension(metadata): Extension<Arc<RequestMetadata>>,
    Extension(place): Extension<Arc<Place>>,
    Path(session): Path<String>,
    request: Request<Body>,
) -> Response {
    let mut findings = CookieFindings::default();
    match taken(&hub, &session, request, &place, &mut findings).await {
        Ok(()) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            response
        }
        Err(why) => {
            let mut response = answer::failure(&why, &metadata.request_id);
            if findings.renewable {
                response.headers_mut().insert(SESSION, HeaderValue::from_static("renew"));
            }
            response
        }
    }
}

async fn taken(hub: &Hub, id: &str, request: Request<Body>, place: &Place, findings: &mut CookieFindings) -> Result<()> {
    let (head, body) = request.into_parts();
    let identity = hub.parts.authenticator.authenticate(&Method::POST, &head.headers, findings).await?;
    if let Some(why) = identity.lapsed {
        return Err(why);
    }
    content::check(&head.headers)?;
    let body = place.read(body, &hub.parts.config.gateway).await?;
    let body = std::str::from_utf8(&body).map_err(|_| Error::invalid_argument("the body is not UTF-8"))?;
    // What is not understood is refused here, whichever node the session is on.
    let wanted = Wanted::read_all(body)?;
    let user = identity.principal.auth.user_id();
    match hub.find(id) {
        // Whether there is a session of this id is nobody else's business.
        Some(session) if session.principal().auth.user_id() == user => {
            // Whoever goes away in the middle does not leave half of it.
            let taking = tokio::spawn(async move { session.hear_posted(wanted).await });
            taking.await.map_err(|why| Error::internal("messages could not be taken in").with_source(why))?
        }
        Some(_) => Err(unknown()),
        // No id of ours: the database need not be asked.
        None if id.len() > 64 || !id.is_ascii() => Err(unknown()),
        None => {
            let roll = hub.parts.live.roll();
            if roll.put_mail(&hub.parts.database, id, user, body).await? { Ok(()) } else { Err(unknown()) }
        }
    }
}

fn unknown() -> Error {
    let text = "there is no such session of this caller; it has ended with its stream, so open another one";
    Error::new(ErrorKind::NotFound, text).with_code("SESSION_UNKNOWN")
}
