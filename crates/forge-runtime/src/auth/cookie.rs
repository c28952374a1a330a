//! The cookie of a browser's session: how it is set, cleared and read.
//!
//! It is `HttpOnly` (no script reads it), `SameSite=Lax` (no other site's form sends it), `Path=/`, without a `Domain`, and
//! `Secure` in production. Requests that it signs in are also [checked](super::csrf) for where they come from.

use std::time::Duration;

use forge_core::{Error, Result};
use http::{HeaderMap, HeaderValue, header};

use crate::config::{AuthConfig, Mode};

/// The longest value, in bytes. Browsers keep about 4096 for name, value and attributes together.
const VALUE_LIMIT: usize = 3800;

/// Sets, clears and reads the session's cookie.
#[derive(Debug, Clone)]
pub struct SessionCookie {
    name: String,
    secure: bool,
}

impl SessionCookie {
    /// By the configured `security.auth.cookie_name`; `Secure` in production.
    pub fn new(config: &AuthConfig, mode: Mode) -> Self {
        Self { name: config.cookie_name.clone(), secure: mode.is_production() }
    }

    /// The cookie's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The `Set-Cookie` header that stores a token for so long.
    ///
    /// # Errors
    /// `INTERNAL_ERROR` when the value has characters other than those of tokens (letters, digits, `-`, `_`, `.`), or is
    /// longer than 3800 bytes.
    pub fn set(&self, value: &str, lifetime: Duration) -> Result<HeaderValue> {
        if value.is_empty()
            || value.len() > VALUE_LIMIT
            || !value.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        {
            return Err(Error::internal(format!(
                "the session's cookie cannot hold this value of {} bytes: it takes a token of at most {VALUE_LIMIT}",
                value.len()
            )));
        }
        self.header(value, lifetime.as_secs())
    }

    /// The `Set-Cookie` header that removes it.
    ///
    /// # Errors
    /// `INTERNAL_ERROR` when the configured name is not one of a cookie.
    pub fn clear(&self) -> Result<HeaderValue> {
        self.header("", 0)
    }

    /// The value that a request brings, if it brings exactly one. Two cookies of one name mean that somebody planted one
    /// from a neighbouring host or path; which is the right one cannot be told, so neither is believed.
    pub fn read<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let pairs = headers
            .get_all(header::COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'));
        let mut values = pairs
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(name, _)| *name == self.name)
            .map(|(_, value)| value);
        let value = values.next()?;
        (values.next().is_none() && !value.is_empty()).then_some(value)
    }

    fn header(&self, value: &str, max_age: u64) -> Result<HeaderValue> {
        let secure = if self.secure { "; Secure" } else { "" };
        let text = format!("{}={value}; Path=/; Max-Age={max_age}; HttpOnly; SameSite=Lax{secure}", self.name);
        HeaderValue::from_str(&text)
            .map_err(|error| Error::internal("the session's cookie has a name that is none").with_source(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookie(mode: Mode) -> SessionCookie {
        SessionCookie::new(&crate::config::Config::defaults(mode).security.auth, mode)
    }

    #[test]
    fn what_is_set() {
        let set = cookie(Mode::Production).set("a.b-c_d", Duration::from_secs(60)).unwrap();
        assert_eq!(set, "__Host-forge_session=a.b-c_d; Path=/; Max-Age=60; HttpOnly; SameSite=Lax; Secure");
        let set = cookie(Mode::Development).clear().unwrap();
        assert_eq!(set, "forge_session=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax");
        for value in ["", "a;b", "a b", "a\r\nb", "é", &"x".repeat(3801)] {
            assert!(cookie(Mode::Production).set(value, Duration::ZERO).is_err(), "{value}");
        }
    }

    #[test]
    fn what_is_read() {
        let read = |lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::COOKIE, HeaderValue::from_static(line));
            }
            cookie(Mode::Development).read(&headers).map(str::to_owned)
        };
        assert_eq!(read(&["a=1; forge_session=tok.en; b=2"]).as_deref(), Some("tok.en"));
        assert_eq!(read(&["a=1", "forge_session=t=1"]).as_deref(), Some("t=1"));
        assert_eq!(read(&["xforge_session=t; forge_session2=u"]), None);
        assert_eq!(read(&["forge_session=t; forge_session=u"]), None);
        assert_eq!(read(&["forge_session=t", "forge_session=u"]), None);
        assert_eq!(read(&["forge_session="]), None);
        assert_eq!(read(&[]), None);
    }
}
