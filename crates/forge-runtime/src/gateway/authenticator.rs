//! Who calls, by what the request carries: a bearer token, or a browser's cookies.

use std::sync::{Arc, LazyLock};

use forge_core::auth::AuthContext;
use forge_core::{Error, Result};
use http::{HeaderMap, HeaderValue, Method, header};

use crate::auth::{Accounts, Principal, SessionCookie, SessionTokens, TokenVerifier, csrf};
use crate::config::{AuthConfig, Config};

/// Nobody.
static ANONYMOUS: LazyLock<Arc<Principal>> =
    LazyLock::new(|| Arc::new(Principal { auth: AuthContext::anonymous(), expires_at: i64::MAX, session: None }));

/// Knows who calls.
#[derive(Debug)]
pub struct Authenticator {
    verifier: TokenVerifier,
    access_cookie: SessionCookie,
    refresh_cookie: SessionCookie,
    origins: Vec<String>,
    config: AuthConfig,
}

impl Authenticator {
    pub(crate) fn new(config: &Config, accounts: &Accounts) -> Result<Self> {
        let auth = &config.security.auth;
        let refresh = AuthConfig { cookie_name: format!("{}_refresh", auth.cookie_name), ..auth.clone() };
        Ok(Self {
            verifier: TokenVerifier::new(auth)?.with_revocations(accounts.revocations.clone()),
            access_cookie: SessionCookie::new(auth, config.mode),
            refresh_cookie: SessionCookie::new(&refresh, config.mode),
            origins: config.security.cors.allowed_origins.iter().filter(|origin| *origin != "*").cloned().collect(),
            config: auth.clone(),
        })
    }

    /// Nobody.
    pub(crate) fn anonymous() -> Arc<Principal> {
        ANONYMOUS.clone()
    }

    /// Fetches the keys of `jwks_url` ahead of the first request. A failure is logged: the first token then tries again.
    pub(crate) async fn preload(&self) {
        if let Err(why) = self.verifier.preload().await {
            tracing::warn!(error = ?why, "the keys of security.auth.jwks_url could not be fetched yet");
        }
    }

    /// Who calls. A token that is not valid is refused, never taken for nobody.
    pub(crate) async fn authenticate(&self, method: &Method, headers: &HeaderMap) -> Result<Arc<Principal>> {
        if let Some(token) = bearer(headers)? {
            return self.verifier.verify(token).await;
        }
        match self.access_cookie.read(headers) {
            Some(token) => {
                csrf::check(method, headers, &self.origins)?;
                self.verifier.verify(token).await
            }
            None => Ok(Self::anonymous()),
        }
    }

    /// Who a token speaks for.
    pub(crate) async fn verify(&self, token: &str) -> Result<Arc<Principal>> {
        self.verifier.verify(token).await
    }

    /// Who opens a WebSocket. A browser sends cookies with it whatever page asked for it, so the page's origin counts.
    pub(crate) async fn authenticate_session(&self, headers: &HeaderMap) -> Result<Arc<Principal>> {
        if bearer(headers)?.is_none() && self.access_cookie.read(headers).is_some() {
            csrf::check_origin(headers, &self.origins)?;
        }
        self.authenticate(&Method::GET, headers).await
    }

    /// The refresh token that a browser's cookie carries, if the request was made by the app's own page.
    pub(super) fn refresh_token<'a>(&self, method: &Method, headers: &'a HeaderMap) -> Result<Option<&'a str>> {
        let token = self.refresh_cookie.read(headers);
        if token.is_some() {
            csrf::check(method, headers, &self.origins)?;
        }
        Ok(token)
    }

    /// The cookies that sign a browser in.
    pub(super) fn sign_in(&self, tokens: &SessionTokens, headers: &mut HeaderMap) -> Result<()> {
        let cookies: [HeaderValue; 2] = [
            self.access_cookie.set(&tokens.access, self.config.access_token_ttl)?,
            self.refresh_cookie.set(&tokens.refresh, self.config.session_ttl)?,
        ];
        for cookie in cookies {
            headers.append(header::SET_COOKIE, cookie);
        }
        Ok(())
    }

    /// The cookies that sign a browser out.
    pub(super) fn sign_out(&self, headers: &mut HeaderMap) -> Result<()> {
        for cookie in [self.access_cookie.clear()?, self.refresh_cookie.clear()?] {
            headers.append(header::SET_COOKIE, cookie);
        }
        Ok(())
    }
}

/// The token of `Authorization: Bearer ..`. Anything else in that header is a mistake, not nobody.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let refused = || Error::unauthorized("the Authorization header is not `Bearer <token>`");
    if values.next().is_some() {
        return Err(refused());
    }
    let (scheme, token) = value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or_else(refused)?;
    if !scheme.eq_ignore_ascii_case("bearer") || token.trim().is_empty() {
        return Err(refused());
    }
    Ok(Some(token.trim()))
}
