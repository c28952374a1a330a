//! Who calls, by what the request carries: a bearer token, or a browser's cookies.
//!
//! A program puts a bearer token into a request on purpose, so one that is not valid is refused at every function. A browser
//! sends cookies without being asked, also those whose time is over:
//!
//! | the cookie | a public function | any other |
//! |---|---|---|
//! | is valid | is called by its user | is called by its user |
//! | was good once: expired, or its session has ended | is called by nobody | 401 |
//! | never was: forged, damaged, of another app | 401, and the cookie is taken away | the same |
//! | comes from another site's page | 403 | 403 |
//!
//! A page of another site may not call as nobody either: the answer could sign its visitor in, as whom that page likes.

use std::sync::{Arc, LazyLock};

use forge_core::auth::AuthContext;
use forge_core::{Error, ErrorKind, Result};
use http::{HeaderMap, HeaderValue, Method, header};

use super::content;
use crate::auth::{Accounts, Principal, SessionCookie, SessionTokens, TokenVerifier, csrf};
use crate::config::{AuthConfig, Config};

/// Nobody.
static ANONYMOUS: LazyLock<Arc<Principal>> =
    LazyLock::new(|| Arc::new(Principal { auth: AuthContext::anonymous(), expires_at: i64::MAX, session: None }));

/// Who calls, as far as the request tells.
#[derive(Debug)]
pub(super) struct Identity {
    /// The caller; nobody, unless the request proves more.
    pub(super) principal: Arc<Principal>,
    /// With a cookie that was good once: why every function refuses it that is not public.
    pub(super) lapsed: Option<Error>,
}

/// What the answer has to tell the browser about the cookies that it sent.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct CookieFindings {
    /// They prove nobody's identity, and a refresh token is among them: the session may live, and wants to be renewed.
    pub(super) renewable: bool,
    /// The access token never was one of this app.
    pub(super) forged: bool,
    /// Whoever calls was refused for what they called with, a cookie or not, and nothing of the call was begun.
    pub(super) refused: bool,
}

/// Knows who calls.
#[derive(Debug)]
pub struct Authenticator {
    verifier: TokenVerifier,
    access_cookie: SessionCookie,
    refresh_cookie: SessionCookie,
    origins: Vec<String>,
    /// Pages of any origin may call as nobody.
    any_origin: bool,
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
            any_origin: config.security.cors.allowed_origins.iter().any(|origin| origin == "*"),
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

    /// Who calls. A bearer token that is not valid is refused, never taken for nobody; for cookies, see the module.
    pub(super) async fn authenticate(
        &self,
        method: &Method,
        headers: &HeaderMap,
        findings: &mut CookieFindings,
    ) -> Result<Identity> {
        let certain = |principal| Identity { principal, lapsed: None };
        if let Some(token) = bearer(headers)? {
            return self.verifier.verify(token).await.map(certain);
        }
        let renewable = || self.refresh_cookie.read(headers).is_some();
        let Some(token) = self.access_cookie.read(headers) else {
            if *method == Method::POST {
                self.check_nobody(headers, content::is_json(headers) == Some(true))?;
            }
            findings.renewable = renewable();
            return Ok(certain(Self::anonymous()));
        };
        csrf::check(method, headers, &self.origins)?;
        match self.verifier.verify(token).await {
            Err(why) if why.kind() == ErrorKind::Unauthorized => {
                findings.renewable = renewable();
                findings.forged = !TokenVerifier::was_good_once(&why);
                if findings.forged { Err(why) } else { Ok(Identity { principal: Self::anonymous(), lapsed: Some(why) }) }
            }
            // Any other failure is no verdict about the token.
            verified => verified.map(certain),
        }
    }

    /// Whether the page that sends a request may do so as nobody. `*` lets those of any origin, if the browser had to ask before it sent it: then it
    /// takes no cookies along, and keeps none of the answer.
    fn check_nobody(&self, headers: &HeaderMap, asked: bool) -> Result<()> {
        if self.any_origin && asked { Ok(()) } else { csrf::check_unsigned(headers, &self.origins) }
    }

    /// Who a token speaks for.
    pub(crate) async fn verify(&self, token: &str) -> Result<Arc<Principal>> {
        self.verifier.verify(token).await
    }

    /// Who opens a session. A browser opens a WebSocket, and sends cookies with it, whatever page asked for it, so the page's origin counts. `None` when its
    /// cookies say that it was signed in and wants renewal: its page cannot see an answer of 401 here, so it is told over the connection.
    pub(super) async fn authenticate_session(&self, headers: &HeaderMap) -> Result<Option<Arc<Principal>>> {
        let by_cookie = bearer(headers)?.is_none();
        if by_cookie && self.access_cookie.read(headers).is_some() {
            csrf::check_origin(headers, &self.origins)?;
        } else if by_cookie {
            // No cookie is set over it, whoever is let in.
            self.check_nobody(headers, true)?;
        }
        let mut findings = CookieFindings::default();
        match self.authenticate(&Method::GET, headers, &mut findings).await {
            Ok(_) if findings.renewable => Ok(None),
            Ok(identity) => Ok(identity.lapsed.is_none().then_some(identity.principal)),
            Err(why) if by_cookie && why.kind() == ErrorKind::Unauthorized => Ok(None),
            Err(why) => Err(why),
        }
    }

    /// The refresh token that a browser's cookie carries, if the request was made by the app's own page. A page elsewhere is refused without a
    /// cookie too: the answer to a token that is not good takes cookies away.
    pub(super) fn refresh_token<'a>(&self, method: &Method, headers: &'a HeaderMap) -> Result<Option<&'a str>> {
        let token = self.refresh_cookie.read(headers);
        if token.is_some() {
            csrf::check(method, headers, &self.origins)?;
        } else {
            self.check_nobody(headers, content::is_json(headers) == Some(true))?;
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

    /// Takes the access token's cookie away.
    pub(super) fn discard_access(&self, headers: &mut HeaderMap) -> Result<()> {
        headers.append(header::SET_COOKIE, self.access_cookie.clear()?);
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
