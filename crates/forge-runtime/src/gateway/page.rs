//! The app's page: static files, built by its own tools, served by the binary itself.
//!
//! A release binary carries them; a debug build reads them from `frontend/dist` at every request, so that it compiles without
//! them and shows a new build at once. A path that is no file is the page's own business: it gets `index.html`.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use forge_core::Error;
use forge_core::request::RequestMetadata;
use http::{HeaderValue, Method, Request, StatusCode, header};
use percent_encoding::percent_decode_str;

use super::answer;
use crate::app::NodeParts;

/// Where the files of a page are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Source {
    #[default]
    Nowhere,
    Embedded(&'static [(&'static str, &'static [u8])]),
}

/// The files of a page.
#[derive(Debug, Clone, Default)]
pub struct Page {
    embedded: Source,
    dir: Option<PathBuf>,
}

impl Page {
    /// Files that are part of the program: path and content.
    pub fn embedded(files: &'static [(&'static str, &'static [u8])]) -> Self {
        Self { embedded: Source::Embedded(files), dir: None }
    }

    /// Files in a folder, read when they are asked for.
    pub fn on_disk(dir: PathBuf) -> Self {
        Self { embedded: Source::Nowhere, dir: Some(dir) }
    }

    /// Whether there can be a page at all.
    pub fn exists(&self) -> bool {
        self.embedded != Source::Nowhere
            || self.dir.as_ref().is_some_and(|dir| dir.parent().is_some_and(std::path::Path::exists))
    }

    async fn file(&self, path: &str) -> Option<Cow<'static, [u8]>> {
        // Only plain names: nothing that climbs out of the folder, nothing that is hidden.
        if !path.split('/').all(|part| !part.is_empty() && !part.starts_with('.') && !part.contains(['\\', ':', '\0'])) {
            return None;
        }
        if let Source::Embedded(files) = self.embedded {
            return files.iter().find(|(name, _)| *name == path).map(|(_, content)| Cow::Borrowed(*content));
        }
        tokio::fs::read(self.dir.as_ref()?.join(path)).await.ok().map(Cow::Owned)
    }
}

/// Serves a file of the page.
pub(super) async fn serve(State(parts): State<NodeParts>, request: Request<axum::body::Body>) -> Response {
    let request_id = request.extensions().get::<Arc<RequestMetadata>>().map(|m| m.request_id.clone()).unwrap_or_default();
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return nothing_here(request).await;
    }
    let page = &parts.page;
    // What is no text names no file.
    let path = percent_decode_str(request.uri().path()).decode_utf8().unwrap_or_default();
    let path = path.trim_start_matches('/');
    let path = if path.is_empty() { "index.html" } else { path };
    // A build tool names its files by their content, so those never change.
    if let Some(content) = page.file(path).await {
        return respond(path, content, path.starts_with("assets/"), request.headers().get(header::IF_NONE_MATCH));
    }
    let looks_like_file = path.rsplit('/').next().is_some_and(|last| last.contains('.'));
    match page.file("index.html").await {
        Some(content) if !looks_like_file => {
            respond("index.html", content, false, request.headers().get(header::IF_NONE_MATCH))
        }
        None if path == "index.html" && page.dir.is_some() => {
            let text = "The page of this app has not been built yet: run `npm install` and `npm run build` in its frontend folder, or start it with `forge dev`.\n";
            let mut response = Response::new(text.into());
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        }
        _ => answer::failure(&Error::not_found("there is no such page"), &request_id),
    }
}

/// The answer where nothing answers.
pub(super) async fn nothing_here(request: Request<axum::body::Body>) -> Response {
    let request_id = request.extensions().get::<Arc<RequestMetadata>>().map(|m| m.request_id.clone()).unwrap_or_default();
    answer::failure(&Error::not_found("nothing answers to this method and path"), &request_id)
}

fn respond(path: &str, content: Cow<'static, [u8]>, immutable: bool, known: Option<&HeaderValue>) -> Response {
    let etag = format!("\"{:x}\"", fingerprint(&content));
    let kind = mime_guess::from_path(path).first_or_octet_stream();
    let mut response = if known.and_then(|known| known.to_str().ok()).is_some_and(|known| names(known, &etag)) {
        let mut response = Response::new(axum::body::Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        Response::new(match content {
            Cow::Borrowed(content) => bytes::Bytes::from_static(content).into(),
            Cow::Owned(content) => content.into(),
        })
    };
    let headers = response.headers_mut();
    let charset = if kind.type_() == mime_guess::mime::TEXT { "; charset=utf-8" } else { "" };
    if let Ok(kind) = HeaderValue::from_str(&format!("{kind}{charset}")) {
        headers.insert(header::CONTENT_TYPE, kind);
    }
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        headers.insert(header::ETAG, etag);
    }
    let cache = if immutable { "public, max-age=31536000, immutable" } else { "no-cache" };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    if path.ends_with(".html") {
        let policy = "object-src 'none'; base-uri 'self'; frame-ancestors 'self'";
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    }
    response
}

/// Whether `If-None-Match` names a version. A proxy that compresses weakens what it passes on, which is still the same version.
fn names(known: &str, etag: &str) -> bool {
    known.split(',').map(str::trim).any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == etag)
}

/// FNV-1a: for telling versions of a file apart, nothing more.
fn fingerprint(content: &[u8]) -> u64 {
    content.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
