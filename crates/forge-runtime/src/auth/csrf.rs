//! Whether a request that a cookie signed in was made by the app's own page.
//!
//! A browser sends cookies along whoever made it send the request, so a cookie alone proves no intent. A request that
//! changes something therefore needs both:
//!
//! - a word of the browser that it comes from the own origin: `Sec-Fetch-Site`, or, from older browsers, `Origin`;
//! - the header `x-forge-csrf`, with any value. Another origin's page cannot add it without asking first (a CORS
//!   preflight), which is answered no.
//!
//! Requests with a bearer token need none of this: no browser adds those by itself. One that nothing signs in is no danger to who sends it,
//! but its answer may sign them in as somebody else. So a page elsewhere may not send those either; what is no browser says nothing
//! of where it comes from, and may. Deliberately not here: a secret in a form field. The two checks above need nothing stored, compared or rotated.

use forge_core::{Error, Result};
use http::{HeaderMap, Method, header};

/// The header that a page of the app's own adds to every request.
pub const CSRF_HEADER: &str = "x-forge-csrf";

/// Checks a request that was signed in by cookie. `allowed_origins` are further origins whose pages may call
/// (`security.cors.allowed_origins`; `*` is not one of them here: it never extends to cookies).
///
/// # Errors
/// `CSRF_REFUSED` (403).
pub fn check(method: &Method, headers: &HeaderMap, allowed_origins: &[String]) -> Result<()> {
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(());
    }
    check_origin(headers, allowed_origins)?;
    match headers.get(CSRF_HEADER) {
        Some(value) if !value.is_empty() => Ok(()),
        _ => Err(refused(
            "the header `x-forge-csrf` is missing; a page adds it to every request, or sends a bearer token instead of a cookie",
        )),
    }
}

/// Checks a request that nothing signs in.
///
/// # Errors
/// `CSRF_REFUSED` (403) when a browser says that another origin's page has sent it.
pub fn check_unsigned(headers: &HeaderMap, allowed_origins: &[String]) -> Result<()> {
    let told = headers.contains_key("sec-fetch-site") || headers.contains_key(header::ORIGIN);
    if told { check_origin(headers, allowed_origins) } else { Ok(()) }
}

/// Checks only where a request comes from. Also for a WebSocket's handshake, which is a GET that does more than read.
///
/// # Errors
/// `CSRF_REFUSED` (403).
pub fn check_origin(headers: &HeaderMap, allowed_origins: &[String]) -> Result<()> {
    let origin = headers.get(header::ORIGIN).map(|value| value.to_str().unwrap_or("null"));
    if origin.is_some_and(|origin| origin != "*" && allowed_origins.iter().any(|allowed| allowed == origin)) {
        return Ok(());
    }
    match headers.get("sec-fetch-site").map(http::HeaderValue::as_bytes) {
        Some(b"same-origin" | b"none") => return Ok(()),
        Some(_) => return Err(refused("it comes from another site")),
        None => {}
    }
    // Behind a proxy the scheme is not known for sure, so host and port decide.
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok());
    let authority = origin.and_then(|origin| origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://")));
    match (authority, host) {
        (Some(authority), Some(host)) if authority.eq_ignore_ascii_case(host) => Ok(()),
        (Some(_), _) => Err(refused("it comes from another origin")),
        (None, _) => Err(refused("the browser does not say where it comes from")),
    }
}

fn refused(reason: &'static str) -> Error {
    Error::forbidden(format!("the request was refused: {reason}")).with_code("CSRF_REFUSED")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[track_caller]
    fn check_one(pairs: &[(&'static str, &str)], fine: bool) {
        let allowed = ["https://app.example".to_owned(), "*".to_owned()];
        let with: Vec<_> = pairs.iter().copied().chain([("x-forge-csrf", "1")]).collect();
        let result = check(&Method::POST, &headers(&with), &allowed);
        assert_eq!(result.is_ok(), fine, "{pairs:?}: {result:?}");
        if let Err(error) = result {
            assert_eq!((error.code(), error.http_status()), ("CSRF_REFUSED", 403));
        }
        // Who says nothing is no browser, and may where nothing signs in.
        let silent = !pairs.iter().any(|(name, _)| ["sec-fetch-site", "origin"].contains(name));
        assert_eq!(check_unsigned(&headers(pairs), &allowed).is_ok(), fine || silent, "{pairs:?}");
        // Without the app's own header, nothing passes that changes something, and everything that only reads.
        assert!(check(&Method::POST, &headers(pairs), &allowed).is_err());
        assert!(check(&Method::GET, &headers(pairs), &allowed).is_ok());
    }

    #[test]
    fn where_it_comes_from() {
        check_one(&[("sec-fetch-site", "same-origin")], true);
        check_one(&[("sec-fetch-site", "none")], true);
        check_one(&[("sec-fetch-site", "same-site")], false);
        check_one(&[("sec-fetch-site", "cross-site")], false);
        check_one(&[("sec-fetch-site", "")], false);
        check_one(&[("sec-fetch-site", "cross-site"), ("origin", "https://evil.example"), ("host", "evil.example")], false);
        check_one(&[("sec-fetch-site", "cross-site"), ("origin", "https://app.example")], true);
        check_one(&[("origin", "https://api.example"), ("host", "api.example")], true);
        check_one(&[("origin", "http://localhost:8080"), ("host", "localhost:8080")], true);
        check_one(&[("origin", "http://localhost:8081"), ("host", "localhost:8080")], false);
        check_one(&[("origin", "https://api.example.evil"), ("host", "api.example")], false);
        check_one(&[("origin", "null"), ("host", "null")], false);
        check_one(&[("origin", "*"), ("host", "*")], false);
        check_one(&[("host", "api.example")], false);
        check_one(&[], false);
    }
}
