//! `[security.cors]` and `[security.auth]`.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;

use super::database::file;
use super::kind::{Choice, Kind, choice, duration, int, list, optional, parsed, secret, text};
use super::table::{section, tables};
use super::units::{days, hours, mins, secs};
use super::{Mode, Secret};

/// Who may call, and from where.
#[derive(Debug, Clone)]
pub struct SecurityConfig {
    /// `[security.cors]`.
    pub cors: CorsConfig,
    /// `[security.auth]`.
    pub auth: AuthConfig,
}

impl SecurityConfig {
    pub(super) fn defaults(mode: Mode) -> Self {
        use super::table::Section as _;
        Self { cors: CorsConfig::defaults(mode), auth: AuthConfig::defaults(mode) }
    }
}

impl Default for SecurityConfig {
    fn default() -> Self {
        Self::defaults(Mode::Development)
    }
}

section! {
    /// Which web pages of other origins may call. Pages of the app's own origin always may.
    pub struct CorsConfig(mode) {
        /// Origins such as `https://app.example`; `*` means all and is refused in production. Empty: the own origin only.
        allowed_origins: Vec<String> = Vec::new(), list(origin());
        /// Methods that such pages may use.
        allowed_methods: Vec<String> = vec!["GET".into(), "POST".into()], list(method());
        /// Request headers that such pages may send.
        allowed_headers: Vec<String> = usual_headers(), list(header());
        /// How long a browser may remember the answer to its preflight question.
        max_age: Duration = hours(1), duration(secs(0)..=hours(24));
    }
}

section! {
    /// How callers prove who they are: bearer tokens (JWT), cookies, passwords. `[auth]` is another name of this table.
    pub struct AuthConfig(mode) {
        /// What the app's own tokens are signed with (HMAC), at least 32 random bytes; 48 when `algorithms` has HS384, 64 when
        /// it has HS512. Required in production unless `algorithms` has no HS algorithm. In development a random one is made at
        /// start when it is not set, so tokens end with the process.
        secret: Option<Secret> = None, optional(secret()), env "FORGE_SECRET";
        /// Earlier values of `secret`, each still accepted until its `valid_until`. Nothing is signed with them.
        previous_secrets: Vec<PreviousSecret> = Vec::new(), tables(PreviousSecret::check);
        /// The algorithms a token may be signed with. Anything else is refused before any key is looked at. HS algorithms
        /// are checked with `secret` only, all others with `public_keys` and `jwks_url` only.
        algorithms: Vec<Algorithm> = vec![Algorithm::HS256], list(choice());
        /// Public keys of those who issue tokens for this app.
        public_keys: Vec<PublicKey> = Vec::new(), tables(PublicKey::check);
        /// Where an identity provider publishes its public keys (a JWK set). `https`, or `http` on a loopback address.
        jwks_url: Option<String> = None, optional(jwks_url());
        /// How long the keys of `jwks_url` are used before they are fetched again. An unknown key id fetches them earlier, at
        /// most every 30 seconds; while the URL cannot be reached, the last keys serve for up to 24 hours.
        jwks_cache: Duration = hours(1), duration(mins(1)..=hours(24));
        /// Who must have issued a token (`iss`). Own tokens carry it. Not set: not looked at.
        issuer: Option<String> = None, optional(text());
        /// Whom a token must be meant for (`aud`). Own tokens carry it. Not set: a token that names an audience is refused, as
        /// it is meant for someone else.
        audience: Option<String> = None, optional(text());
        /// By how much the clocks of issuer and node may differ: a token counts so much longer and so much earlier.
        leeway: Duration = secs(30), duration(secs(0)..=mins(5));
        /// How long an own access token is valid. It cannot be taken back earlier unless it belongs to a session.
        access_token_ttl: Duration = mins(15), duration(secs(10)..=hours(24));
        /// How long a session can be refreshed after sign-in, however busy it is.
        refresh_token_ttl: Duration = days(30), duration(mins(1)..=days(3650));
        /// How long a session lives without being refreshed.
        session_ttl: Duration = days(7), duration(mins(1)..=days(3650));
        /// The cookie that carries a browser's session. A name with `__Host-` makes browsers refuse it when it is set by
        /// another host or without TLS; development has no TLS, hence the other default there.
        cookie_name: String = usual_cookie(mode).into(), cookie_name();
        /// How many passwords are hashed at once. Each takes 19 MiB and about 20 ms of a core; up to 64 more wait, further
        /// ones are answered `RATE_LIMITED`.
        password_concurrency: u32 = 2, int(1..=64);
        /// How many attempts to sign in one account has from one address within `login_window`.
        login_attempts: u32 = 10, int(1..=1_000);
        /// How many attempts to sign in, to whatever accounts, one address has within `login_window`; those that succeed do not count.
        login_attempts_per_address: u32 = 100, int(1..=100_000);
        /// The window in which `login_attempts` are counted, from its first attempt.
        login_window: Duration = mins(15), duration(secs(10)..=hours(24));
    }
}

section! {
    /// An earlier signing secret.
    pub struct PreviousSecret(mode) {
        /// The secret.
        secret: Secret = Secret::default(), secret();
        /// When it stops being accepted, as `2030-01-31T12:00:00Z`.
        valid_until: Timestamp = Timestamp::UNIX_EPOCH, time();
    }
}

impl PreviousSecret {
    fn check(&self) -> Result<(), String> {
        if self.secret.is_empty() || self.valid_until == Timestamp::UNIX_EPOCH {
            return Err("needs both `secret` and `valid_until`".into());
        }
        Ok(())
    }
}

section! {
    /// A public key. It has either `pem` or `file`.
    pub struct PublicKey(mode) {
        /// The key's id. A token that names a key id is checked with that key only. Not set: the key is tried for every
        /// token of its algorithm that names no other known key.
        kid: Option<String> = None, optional(text());
        /// The one algorithm that the key is used with.
        algorithm: Algorithm = Algorithm::RS256, choice();
        /// The key in PEM form.
        pem: Option<String> = None, optional(text());
        /// A file with the key in PEM form, seen from the working directory.
        file: Option<PathBuf> = None, optional(file());
    }
}

impl PublicKey {
    fn check(&self) -> Result<(), String> {
        if self.algorithm.is_hmac() {
            return Err("`algorithm` is an HMAC one, which has no public key; it belongs with `secret`".into());
        }
        match (&self.pem, &self.file) {
            (Some(_), Some(_)) => Err("has both `pem` and `file`; keep one".into()),
            (None, None) => Err("needs `pem` or `file`".into()),
            _ => Ok(()),
        }
    }
}

/// How a token is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // The names are those of RFC 7518; there is nothing to add.
pub enum Algorithm {
    HS256,
    HS384,
    HS512,
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

impl Algorithm {
    /// Whether it signs with a shared secret.
    pub const fn is_hmac(self) -> bool {
        matches!(self, Self::HS256 | Self::HS384 | Self::HS512)
    }

    /// How many bytes a secret needs at least: as many as the hash has. 0 for algorithms without a shared secret.
    pub const fn least_secret(self) -> usize {
        match self {
            Self::HS256 => 32,
            Self::HS384 => 48,
            Self::HS512 => 64,
            _ => 0,
        }
    }
}

impl Choice for Algorithm {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("HS256", Self::HS256),
        ("HS384", Self::HS384),
        ("HS512", Self::HS512),
        ("RS256", Self::RS256),
        ("RS384", Self::RS384),
        ("RS512", Self::RS512),
        ("PS256", Self::PS256),
        ("PS384", Self::PS384),
        ("PS512", Self::PS512),
        ("ES256", Self::ES256),
        ("ES384", Self::ES384),
        ("EdDSA", Self::EdDSA),
    ];
}

fn usual_cookie(mode: Mode) -> &'static str {
    if mode.is_production() { "__Host-forge_session" } else { "forge_session" }
}

fn usual_headers() -> Vec<String> {
    let own = ["x-forge-csrf", "x-forge-mutation-id", "x-forge-position"];
    let usual = ["authorization", "content-type", "traceparent", "x-correlation-id", "x-request-id"];
    usual.into_iter().chain(own).map(String::from).collect()
}

fn origin() -> impl Kind<String> {
    parsed("an origin such as \"https://app.example\", or \"*\"", read_origin, Clone::clone)
}

fn method() -> impl Kind<String> {
    parsed("an HTTP method such as \"POST\"", read_method, Clone::clone)
}

fn header() -> impl Kind<String> {
    parsed("the name of a header", read_header, Clone::clone)
}

fn cookie_name() -> impl Kind<String> {
    parsed("a cookie name: letters, digits, `_` and `-`", read_cookie_name, Clone::clone)
}

fn jwks_url() -> impl Kind<String> {
    parsed("an https:// URL", read_jwks_url, Clone::clone)
}

fn time() -> impl Kind<Timestamp> {
    fn read(text: &str) -> Result<Timestamp, String> {
        text.parse().map_err(|_| format!("`{}` is not a time; write it like 2030-01-31T12:00:00Z", text.escape_debug()))
    }
    parsed("a time such as 2030-01-31T12:00:00Z", read, ToString::to_string)
}

fn read_origin(text: &str) -> Result<String, String> {
    if text == "*" {
        return Ok(text.into());
    }
    let fine = reqwest::Url::parse(text)
        .is_ok_and(|url| url.origin().ascii_serialization() == text && matches!(url.scheme(), "http" | "https"));
    if fine {
        return Ok(text.into());
    }
    Err(format!(
        "`{}` is not an origin: scheme, host and, if it is not the usual one, port, \
         with no slash at the end, like https://app.example",
        text.escape_debug()
    ))
}

fn read_method(text: &str) -> Result<String, String> {
    match text.parse::<http::Method>() {
        Ok(method) if method.as_str().bytes().all(|b| b.is_ascii_uppercase()) => Ok(text.into()),
        _ => Err(format!("`{}` is not an HTTP method; write it like POST", text.escape_debug())),
    }
}

fn read_header(text: &str) -> Result<String, String> {
    match text.parse::<http::HeaderName>() {
        Ok(name) => Ok(name.as_str().into()),
        Err(_) => Err(format!("`{}` is not the name of a header", text.escape_debug())),
    }
}

fn read_cookie_name(text: &str) -> Result<String, String> {
    let fine =
        !text.is_empty() && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if fine { Ok(text.into()) } else { Err("is not a cookie name: letters, digits, `_` and `-`, at most 64".into()) }
}

fn read_jwks_url(text: &str) -> Result<String, String> {
    let wrong = || "is not an https:// URL; http:// is accepted on a loopback address only".to_owned();
    let url = reqwest::Url::parse(text).map_err(|_| wrong())?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("has a user or password in it, which would end up in logs".into());
    }
    let loopback = url.host_str().is_some_and(is_loopback);
    if url.scheme() == "https" || (url.scheme() == "http" && loopback) { Ok(text.into()) } else { Err(wrong()) }
}

/// Whether the host of a URL is this machine.
pub(crate) fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}
