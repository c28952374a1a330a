//! `/_api/…`: operating what runs, from outside. Every request passes the guard first; there is one way in.
//!
//! The doors do nothing themselves: each reads what is asked for and calls the `admin.rs` of a feature. Their shapes are told in `docs/admin.md`.

mod attempts;
mod cluster;
mod guard;
mod jobs;
mod wish;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use axum::routing::any;
use axum::{Extension, Router};
use bytes::Bytes;
use forge_core::request::RequestMetadata;
use forge_core::{Error, Result};
use http::{HeaderValue, Method, Request, header};
use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::Semaphore;

use super::page::nothing_here;
use super::{answer, room};
use crate::admin::{Actor, Admin};
use crate::app::{NodeParts, Stage};
use crate::cron::admin::{NEXT_MAX, Place};
use crate::jobs::admin::{Counts, Pause};
use guard::Guard;
use wish::Words;

/// How many requests are worked on at once: each has a connection of the functions' pool. Others wait.
const AT_ONCE: usize = 3;

/// How long they wait at most.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// How many next times of crons are told when nothing is said.
const NEXT: i64 = 3;

/// What answers.
#[derive(Debug)]
struct Desk {
    parts: NodeParts,
    admin: Admin,
    guard: Guard,
    room: Semaphore,
    counts: Counts,
}

/// Where the doors are; whatever else stands below is not there, and no page either.
pub(super) fn routes(parts: &NodeParts) -> Router<NodeParts> {
    let paths = ["/_api", "/_api/", "/_api/{*path}"];
    if !parts.config.admin.is_open() {
        return paths.into_iter().fold(Router::new(), |router, path| router.route(path, any(nothing_here)));
    }
    let desk = Arc::new(Desk {
        parts: parts.clone(),
        admin: parts.admin(),
        guard: Guard::new(&parts.config.admin, parts.authenticator.clone()),
        room: Semaphore::new(AT_ONCE),
        counts: Counts::default(),
    });
    paths.into_iter().fold(Router::new(), |router, path| router.route(path, any(enter).with_state(desk.clone())))
}

async fn enter(
    State(desk): State<Arc<Desk>>,
    Extension(place): Extension<Arc<room::Place>>,
    request: Request<Body>,
) -> Response {
    let metadata = request.extensions().get::<Arc<RequestMetadata>>().cloned();
    let Some(metadata) = metadata else {
        return answer::failure(&Error::internal("a request came past the edge"), "");
    };
    let mut response = match desk.answer(request, &metadata, &place).await {
        Ok(json) => answer::success(&json, &metadata.request_id),
        Err(why) => answer::failure(&why, &metadata.request_id),
    };
    // Nobody on the way, and no browser, is to keep what was said here.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What is asked for.
struct Wish {
    method: Method,
    words: Words,
    body: Bytes,
    now: Timestamp,
}

impl Desk {
    async fn answer(&self, request: Request<Body>, metadata: &RequestMetadata, place: &room::Place) -> Result<Vec<u8>> {
        let (head, body) = request.into_parts();
        let actor = self.guard.admit(&head.method, &head.headers, metadata).await?;
        if *self.parts.stage.borrow() == Stage::Starting {
            return Err(Error::database_unavailable("the server is starting: the database is not ready yet"));
        }
        let body = place.read(body, &self.parts.config.gateway).await?;
        let now = self.parts.clock().now();
        let wish = Wish { method: head.method, words: Words::read(head.uri.query(), now)?, body, now };
        let path: Vec<String> = head.uri.path().trim_matches('/').split('/').skip(1).map(decode).collect::<Result<_>>()?;
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let room = tokio::time::timeout(WAIT_MAX, self.room.acquire()).await;
        let _room = room.map_err(|_| Error::rate_limited("the admin doors have enough to do; try again", 1))?;
        match path.split_first() {
            Some((&"jobs", rest)) => self.jobs(&actor, rest, wish).await,
            Some((&"queues", rest)) => self.queues(&actor, rest, wish).await,
            Some((&"crons", rest)) => self.crons(&actor, rest, wish).await,
            Some((&"cluster", rest)) => self.cluster(&actor, rest, wish).await,
            Some((&"audit", [])) if wish.method == Method::GET => self.audit(wish).await,
            _ => Err(nothing()),
        }
    }

    async fn queues(&self, actor: &Actor, path: &[&str], wish: Wish) -> Result<Vec<u8>> {
        let jobs = &self.parts.jobs;
        match (&wish.method, path) {
            (&Method::GET, []) => {
                wish.words.end()?;
                data(&json!({ "queues": *jobs.queues(&self.admin, &self.counts).await? }))
            }
            (&Method::POST, [queue, word @ ("pause" | "resume")]) => {
                #[derive(Deserialize)]
                #[serde(deny_unknown_fields)]
                struct Said {
                    #[serde(default)]
                    force: bool,
                }
                let paused = *word == "pause";
                let to_do = if paused {
                    wish.words.end()?;
                    let Said { force } = wish::body(&wish.body)?;
                    Pause::Pause { unknown: force }
                } else {
                    wish.nothing_said()?;
                    Pause::Resume
                };
                let changed = jobs.pause_queue(&self.admin, actor, queue, to_do).await?;
                self.counts.forget().await;
                data(&json!({ "queue": queue, "paused": paused, "changed": changed }))
            }
            _ => Err(nothing()),
        }
    }

    async fn crons(&self, actor: &Actor, path: &[&str], mut wish: Wish) -> Result<Vec<u8>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        struct Run {
            slot: Option<Timestamp>,
            #[serde(default)]
            again: bool,
        }
        let (crons, admin) = (&self.parts.crons, &self.admin);
        match (&wish.method, path) {
            (&Method::GET, []) => {
                let next = wish.next()?;
                data(&json!({ "crons": crons.list(admin, next).await? }))
            }
            (&Method::GET, [name]) => {
                let next = wish.next()?;
                data(&crons.show(admin, name, next).await?)
            }
            (&Method::GET, [name, "runs"]) => {
                let before = wish.words.text("before").map(|text| Place::parse(&text)).transpose()?;
                let limit = wish.words.limit()?;
                wish.words.end()?;
                data(&crons.history(admin, name, before, limit).await?)
            }
            (&Method::POST, [name, "run"]) => {
                wish.words.end()?;
                let Run { slot, again } = wish::body(&wish.body)?;
                data(&crons.run_by_hand(admin, actor, name, slot, again).await?)
            }
            (&Method::POST, [name, word @ ("pause" | "resume")]) => {
                wish.nothing_said()?;
                let paused = *word == "pause";
                let changed = crons.pause(admin, actor, name, paused).await?;
                data(&json!({ "cron": name, "paused": paused, "changed": changed }))
            }
            _ => Err(nothing()),
        }
    }

    async fn audit(&self, mut wish: Wish) -> Result<Vec<u8>> {
        let (before, limit) = (wish.words.id("before")?, wish.words.limit()?);
        wish.words.end()?;
        let mut rows = self.admin.audit(before, limit + 1).await?;
        let more = rows.len() > usize::try_from(limit).unwrap_or(usize::MAX);
        if more {
            rows.pop();
        }
        let next = rows.last().map(|row| row.id).filter(|_| more);
        data(&json!({ "actions": rows, "next": next }))
    }
}

impl Wish {
    fn next(&mut self) -> Result<usize> {
        let next = self.words.number("next", NEXT, i64::try_from(NEXT_MAX).unwrap_or(NEXT))?;
        std::mem::replace(&mut self.words, Words::read(None, self.now)?).end()?;
        Ok(usize::try_from(next).unwrap_or(0))
    }

    /// Where there is nothing to say.
    fn nothing_said(self) -> Result<()> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Nothing {}
        self.words.end()?;
        wish::body::<Nothing>(&self.body).map(drop)
    }
}

fn decode(part: &str) -> Result<String> {
    let decoded = percent_decode_str(part).decode_utf8();
    decoded.map(std::borrow::Cow::into_owned).map_err(|_| Error::invalid_argument("the path is not UTF-8"))
}

fn data(of: &impl Serialize) -> Result<Vec<u8>> {
    Ok(serde_json::to_vec(of)?)
}

fn nothing() -> Error {
    Error::not_found("nothing answers to this method and path; docs/admin.md lists the admin doors")
}
