//! `/_forge/mail`: mail that was sent in development, where it goes no further.
//!
//! The page is there only in development and without `mail.url`; anywhere else nothing answers to its path. What a mail says is shown as
//! text; its HTML in a frame of its own, in which nothing runs and nothing is fetched.

use std::fmt::Write as _;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;
use forge_core::Error;
use http::{HeaderValue, StatusCode, header};

use super::answer;
use crate::app::NodeParts;
use crate::config::Mode;
use crate::mail::SentMail;

/// Nothing runs, nothing is fetched; on the page itself its own style.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The same for a mail's HTML, which is nobody's origin.
const MAIL_POLICY: &str =
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fafafa}\
h1{font-size:1.25rem}a{color:#0b57d0}ul{list-style:none;padding:0}li{background:#fff;border:1px solid #ddd;border-radius:8px;margin:.5rem 0}\
li a{display:block;padding:.6rem .9rem;text-decoration:none;color:inherit}li a:hover{background:#f0f4ff}small{color:#666}\
pre{white-space:pre-wrap;overflow-wrap:anywhere;background:#fff;border:1px solid #ddd;border-radius:8px;padding:1rem;font:inherit}\
iframe{width:100%;height:24rem;border:1px solid #ddd;border-radius:8px;background:#fff}dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1rem}\
dt{color:#666}dd{margin:0;overflow-wrap:anywhere}\
@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}li,pre{background:#222;border-color:#444}li a:hover{background:#2a2f3d}a{color:#8ab4f8}small,dt{color:#aaa}}";

pub(super) fn routes(parts: &NodeParts) -> Router<NodeParts> {
    if parts.config.mode != Mode::Development || parts.mail.inbox().is_none() {
        return Router::new();
    }
    Router::new()
        .route("/_forge/mail", get(list))
        .route("/_forge/mail/{id}", get(one))
        .route("/_forge/mail/{id}/html", get(html))
}

async fn list(State(parts): State<NodeParts>) -> Response {
    let mails = parts.mails();
    let mut body = String::from("<h1>Mail</h1>");
    if mails.is_empty() {
        body.push_str("<p>No mail has been sent since this process was started.</p>");
    } else {
        body.push_str("<ul>");
        for mail in mails.iter().rev() {
            // Writing to a text does not fail.
            let _ = write!(
                body,
                "<li><a href=\"/_forge/mail/{}\"><b>{}</b><br><small>to {} · {}</small></a></li>",
                mail.id,
                escaped(subject(mail)),
                escaped(&mail.to.join(", ")),
                escaped(&mail.at.strftime("%H:%M:%S UTC").to_string()),
            );
        }
        body.push_str("</ul>");
    }
    body.push_str(
        "<p><small>In development mail goes no further than here: the newest hundred, until the process ends. \
         With mail.url in forge.toml it is sent.</small></p>",
    );
    page("Mail", "<meta http-equiv=\"refresh\" content=\"3\">", &body)
}

async fn one(State(parts): State<NodeParts>, Path(id): Path<u64>) -> Response {
    let Some(mail) = parts.mail.inbox().and_then(|inbox| inbox.get(id)) else { return gone() };
    let mut body = format!("<p><a href=\"/_forge/mail\">All mail</a></p><h1>{}</h1><dl>", escaped(subject(&mail)));
    let at = mail.at.to_string();
    let to = mail.to.join(", ");
    let facts =
        [("From", Some(&mail.from)), ("To", Some(&to)), ("Answers to", mail.reply_to.as_ref()), ("Sent", Some(&at))];
    for (name, value) in facts.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        let _ = write!(body, "<dt>{name}</dt><dd>{}</dd>", escaped(value));
    }
    let _ = write!(body, "</dl><pre>{}</pre>", escaped(&mail.text));
    if mail.html.is_some() {
        let _ = write!(body, "<iframe sandbox=\"\" title=\"The mail in HTML\" src=\"/_forge/mail/{id}/html\"></iframe>");
    }
    page(subject(&mail), "", &body)
}

async fn html(State(parts): State<NodeParts>, Path(id): Path<u64>) -> Response {
    let html = parts.mail.inbox().and_then(|inbox| inbox.get(id)).and_then(|mail| mail.html);
    html.map_or_else(gone, |html| respond(html, MAIL_POLICY))
}

fn subject(mail: &SentMail) -> &str {
    if mail.subject.is_empty() { "(no subject)" } else { &mail.subject }
}

fn gone() -> Response {
    answer::failure(&Error::not_found("there is no such mail (any more)"), "")
}

fn page(title: &str, head: &str, body: &str) -> Response {
    let title = escaped(title);
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><link rel=\"icon\" href=\"data:,\">{head}\
         <title>{title}</title><style>{STYLE}</style></head><body>{body}</body></html>"
    );
    respond(html, PAGE_POLICY)
}

fn respond(html: String, policy: &'static str) -> Response {
    let mut response = Response::new(html.into());
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Text in HTML.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}
