//! `[mail]`: how an app sends mail.

use std::time::Duration;

use super::Secret;
use super::kind::{duration, optional, secret, text};
use super::table::section;
use super::units::{mins, ms, secs};

section! {
    /// Mail that the app sends.
    pub struct MailConfig(mode) {
        /// The mail server: `smtps://user:password@host` (TLS from the start, port 465), `smtp://user:password@host?tls=required` (STARTTLS,
        /// port 587), or `smtp://host` (no TLS, port 25; production takes that for the machine itself only). Characters that mean
        /// something in an address are written as `%40` and the like. When it is not set, mail lands on the page `/_forge/mail` in
        /// development, and in production sending is an error.
        url: Option<Secret> = None, optional(secret());
        /// Whom mail is from, unless it says so itself: `board@example.org` or `Board <board@example.org>`. Needed with mail.url.
        from: Option<String> = None, optional(text());
        /// How long the mail server may take for one mail.
        timeout: Duration = secs(15), duration(ms(100)..=mins(10));
    }
}

impl MailConfig {
    /// What is wrong with the address of the server: `Err` says what. `Ok(false)` when passwords and mail would cross a network unencrypted.
    pub(super) fn check_url(url: &Secret) -> Result<bool, &'static str> {
        let Ok(url) = reqwest::Url::parse(url.expose()) else {
            return Err("is no address, such as smtps://user:password@mail.example.org");
        };
        let Some(host) = url.host_str().filter(|host| !host.is_empty()) else { return Err("names no host") };
        let tls = url.query_pairs().find(|(key, _)| key == "tls").map(|(_, value)| value.into_owned());
        match (url.scheme(), tls.as_deref()) {
            ("smtps", _) | ("smtp", Some("required")) => Ok(true),
            ("smtp", None | Some("opportunistic")) => Ok(host == "localhost"
                || host.trim_matches(['[', ']']).parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())),
            ("smtp", Some(_)) => Err("has a `tls` that is neither `required` nor `opportunistic`"),
            _ => Err("begins with neither smtps:// nor smtp://"),
        }
    }
}
