//! Who is calling.

use serde_json::{Map, Value};

use crate::{Error, Result};

/// A signed-in caller.
#[derive(Debug, Clone, PartialEq)]
pub struct AuthUser {
    /// The subject of the token, exactly as it was issued. It stays text, so that two issuers' ids never collide by
    /// being squeezed into one type; [`id_as`](Self::id_as) reads it as the app's own.
    pub id: String,
    /// The roles of the token.
    pub roles: Vec<String>,
    /// All other claims of the token.
    pub claims: Map<String, Value>,
}

impl AuthUser {
    /// A user with an id and nothing else.
    pub fn new(id: impl Into<String>) -> Self {
        Self { id: id.into(), roles: Vec::new(), claims: Map::new() }
    }

    /// The id as the app's own type, such as `Uuid`.
    ///
    /// # Errors
    /// `UNAUTHORIZED` when the id is not of that form: the token was made for another system.
    pub fn id_as<T: std::str::FromStr>(&self) -> Result<T> {
        self.id
            .parse()
            .map_err(|_| Error::unauthorized("the token's subject does not have the form of a user id of this app"))
    }

    /// Whether the user has a role.
    pub fn has_role(&self, role: &str) -> bool {
        self.roles.iter().any(|r| r == role)
    }
}

/// The caller as a function sees it: a user, nobody, or the app itself.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AuthContext {
    user: Option<AuthUser>,
    system: bool,
}

impl AuthContext {
    /// Nobody is signed in. Only `public` functions are called with this.
    pub const fn anonymous() -> Self {
        Self { user: None, system: false }
    }

    /// The app itself: what the clock sets off. It may call every function, has every role, and is no user.
    pub const fn system() -> Self {
        Self { user: None, system: true }
    }

    /// Whether it is the app itself.
    pub fn is_system(&self) -> bool {
        self.system
    }

    /// This user is signed in.
    pub const fn of(user: AuthUser) -> Self {
        Self { user: Some(user), system: false }
    }

    /// The user, if somebody is signed in.
    pub fn user(&self) -> Option<&AuthUser> {
        self.user.as_ref()
    }

    /// The user's id, if somebody is signed in.
    pub fn user_id(&self) -> Option<&str> {
        self.user.as_ref().map(|user| user.id.as_str())
    }

    /// The user.
    ///
    /// # Errors
    /// `UNAUTHORIZED` when nobody is signed in.
    pub fn require_user(&self) -> Result<&AuthUser> {
        self.user.as_ref().ok_or_else(|| Error::unauthorized("sign in to do this"))
    }

    /// Whether somebody is signed in, or it is the app itself.
    pub fn is_authenticated(&self) -> bool {
        self.user.is_some() || self.system
    }

    /// Whether the caller has a role. Nobody has none, the app itself has all.
    pub fn has_role(&self, role: &str) -> bool {
        self.system || self.user.as_ref().is_some_and(|user| user.has_role(role))
    }

    /// Checks a role.
    ///
    /// # Errors
    /// `UNAUTHORIZED` when nobody is signed in, `FORBIDDEN` when the user lacks the role.
    pub fn require_role(&self, role: &str) -> Result<()> {
        if self.has_role(role) {
            return Ok(());
        }
        self.require_user()?;
        Err(Error::forbidden(format!("this needs the role `{role}`")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_of_another_system_is_refused_not_mapped() {
        let user = AuthUser::new("google|1234");
        assert_eq!(user.id_as::<uuid::Uuid>().unwrap_err().code(), "UNAUTHORIZED");
    }

    #[test]
    fn nobody_has_no_role_and_the_app_itself_has_all() {
        let system = AuthContext::system();
        assert!(system.require_role("admin").is_ok() && system.is_authenticated() && system.user().is_none());
        assert_eq!(AuthContext::anonymous().require_role("admin").unwrap_err().code(), "UNAUTHORIZED");
        let ada = AuthContext::of(AuthUser::new("ada"));
        assert_eq!(ada.require_role("admin").unwrap_err().code(), "FORBIDDEN");
    }
}
