//! Which function a name means, and whether the caller may call it.

use std::sync::Arc;

use forge_core::auth::AuthContext;
use forge_core::function::{Access, FunctionInfo};
use forge_core::{Error, Result};

use super::registry::{Entry, FunctionRegistry};

/// Finds functions and guards them.
#[derive(Debug, Clone)]
pub struct FunctionRouter {
    registry: FunctionRegistry,
}

impl FunctionRouter {
    /// A router over these functions.
    pub fn new(registry: FunctionRegistry) -> Self {
        Self { registry }
    }

    /// The functions.
    pub fn registry(&self) -> &FunctionRegistry {
        &self.registry
    }

    /// The function of this name, if the caller may call it.
    ///
    /// # Errors
    /// `NOT_FOUND` when there is none, `UNAUTHORIZED` when it needs a caller who is signed in, `FORBIDDEN` when the caller lacks the
    /// role.
    pub(crate) fn route(&self, name: &str, auth: &AuthContext) -> Result<&Arc<Entry>> {
        let Some(entry) = self.registry.get(name) else {
            // Names of functions that exist are told only to those who are signed in: to others the list is nobody's business.
            let hint =
                auth.user().and_then(|_| self.registry.nearest(name)).map(|near| format!("; did you mean `{near}`?"));
            return Err(Error::not_found(format!("there is no function of this name{}", hint.unwrap_or_default())));
        };
        permit(&entry.info, auth)?;
        Ok(entry)
    }
}

/// Whether a caller may call a function.
pub(crate) fn permit(info: &FunctionInfo, auth: &AuthContext) -> Result<()> {
    if auth.is_system() {
        return Ok(());
    }
    match info.access {
        Access::Public => Ok(()),
        Access::SignedIn => auth.require_user().map(drop),
        Access::AnyRole(roles) => {
            let user = auth.require_user()?;
            if roles.iter().any(|role| user.has_role(role)) {
                return Ok(());
            }
            Err(Error::forbidden(format!("this needs the role `{}`", roles.join("` or `"))))
        }
    }
}
