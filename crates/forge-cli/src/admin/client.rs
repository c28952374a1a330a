//! Asks an app at its admin doors.

use std::path::Path;
use std::time::Duration;

use forge_core::{Error, ErrorKind, Result};
use forge_runtime::config::Secret;
use reqwest::{Method, StatusCode, Url};
use serde_json::Value;

use super::place::Place;
use super::words::Reach;

/// How long an answer may take: somewhat longer than the app works on anything.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// What an app without admin doors answers.
const CLOSED: &str = "nothing answers to this method and path";

/// An app that is asked.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    base: Url,
    token: Secret,
    by_dev: bool,
}

impl Client {
    /// For the app that is meant.
    ///
    /// # Errors
    /// `ADMIN_NOT_SAID` when it is not clear which one, or with which token; `ADMIN_INSECURE` when others could read the token.
    pub(super) fn open(reach: &Reach) -> Result<Self> {
        let place = Place::find(reach.url.as_deref(), Path::new("."), &|name| std::env::var(name).ok())?;
        let base = Url::parse(&place.url).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let base = base.ok_or_else(|| {
            Error::config(
                "ADMIN_NOT_SAID",
                format!("`{}` is not the address of an app; write it like https://shop.example", place.url),
            )
        })?;
        if base.scheme() == "http" && !reach.insecure && !is_here(&base) {
            let text = format!(
                "the token would go to {base} without TLS, for everybody on the way to read; use https://, a tunnel, or --insecure if the network is trusted"
            );
            return Err(Error::config("ADMIN_INSECURE", text));
        }
        forge_runtime::install_crypto();
        let http = reqwest::Client::builder()
            // Wherever it led, the token is not for there.
            .redirect(reqwest::redirect::Policy::none())
            .timeout(ANSWER_MAX)
            .build()
            .map_err(|why| Error::internal("no HTTP client could be made").with_source(why))?;
        Ok(Self { http, base, token: place.token, by_dev: place.by_dev })
    }

    pub(super) async fn get(&self, path: &[&str], words: &[(&str, String)]) -> Result<Value> {
        self.ask(Method::GET, path, words, None).await
    }

    pub(super) async fn post(&self, path: &[&str], body: &Value) -> Result<Value> {
        self.ask(Method::POST, path, &[], Some(body)).await
    }

    async fn ask(&self, method: Method, path: &[&str], words: &[(&str, String)], body: Option<&Value>) -> Result<Value> {
        let mut url = self.base.clone();
        if let Ok(mut parts) = url.path_segments_mut() {
            parts.pop_if_empty().push("_api").extend(path);
        }
        if !words.is_empty() {
            url.query_pairs_mut().extend_pairs(words);
        }
        let mut request = self.http.request(method, url).bearer_auth(self.token.expose());
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.map_err(|why| self.unreachable(why))?;
        let status = answer.status();
        let text = answer.text().await.map_err(|why| self.unreachable(why))?;
        let Ok(mut answer) = serde_json::from_str::<Value>(&text) else {
            let text = format!(
                "what answers at {} is not an app of FORGE, or something stands before it: it said {status}",
                self.base
            );
            return Err(Error::config("ADMIN_UNREACHABLE", text));
        };
        if answer["success"] == true {
            return Ok(answer["data"].take());
        }
        Err(self.failure(status, &answer["error"]))
    }

    fn failure(&self, status: StatusCode, error: &Value) -> Error {
        let (code, message) =
            (error["code"].as_str().unwrap_or("INTERNAL_ERROR"), error["message"].as_str().unwrap_or_default());
        if status == StatusCode::NOT_FOUND && message == CLOSED {
            let text = format!(
                "the app at {} has no admin doors: give it admin.token (FORGE_ADMIN_TOKEN) or admin.role, and start it again",
                self.base
            );
            return Error::config("ADMIN_CLOSED", text);
        }
        let hint = match status {
            StatusCode::UNAUTHORIZED if self.by_dev => {
                "; start `forge dev` anew, or put the token that the app has into FORGE_ADMIN_TOKEN"
            }
            StatusCode::UNAUTHORIZED => "; put the token that the app has as admin.token into FORGE_ADMIN_TOKEN",
            _ => "",
        };
        Error::new(ErrorKind::App, format!("{message}{hint}")).with_code(code.to_owned())
    }

    fn unreachable(&self, why: reqwest::Error) -> Error {
        let what = if why.is_timeout() { "does not answer in time" } else { "cannot be reached" };
        let hint = if self.by_dev { "; is `forge dev` running here?" } else { "; does it run, and is this its address?" };
        let text = format!("the app at {} {what}{hint}", self.base);
        Error::config("ADMIN_UNREACHABLE", text).with_source(why.without_url())
    }
}

/// Whether it is this machine.
fn is_here(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback() || ip.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_this_machine() {
        let here = |url: &str| is_here(&Url::parse(url).unwrap());
        for url in ["http://localhost:8080", "http://127.0.0.1", "http://[::1]:80", "http://0.0.0.0:8080"] {
            assert!(here(url), "{url}");
        }
        for url in ["http://10.0.0.1", "http://localhost.example", "http://[2001:db8::1]"] {
            assert!(!here(url), "{url}");
        }
    }
}
