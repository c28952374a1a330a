//! Which rules hold: those of a developer's machine, of a test, or of production.

use std::fmt;

use forge_core::{Error, Result};

/// The one switch between comfortable and strict. Read once, from `FORGE_ENV`; nothing else changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// A developer's machine: readable logs, the loopback address, a random signing secret.
    Development,
    /// Real users: what is unsafe is refused at start.
    Production,
    /// A test: like development, and time may be moved.
    Test,
}

impl Mode {
    /// The mode of a binary that was told nothing: `Development` when built with debug assertions (cargo's `dev`
    /// profile), else `Production`. So a release binary is never lax because a variable was forgotten.
    pub const fn of_build() -> Self {
        if cfg!(debug_assertions) { Self::Development } else { Self::Production }
    }

    /// Reads `FORGE_ENV`; unset or empty means `unsaid`.
    ///
    /// # Errors
    /// `CONFIG_INVALID_VALUE` for anything but `development`, `production` and `test`.
    pub fn from_env(env: &dyn Fn(&str) -> Option<String>, unsaid: Self) -> Result<Self> {
        let Some(text) = env("FORGE_ENV").filter(|text| !text.is_empty()) else {
            return Ok(unsaid);
        };
        match text.as_str() {
            "development" => Ok(Self::Development),
            "production" => Ok(Self::Production),
            "test" => Ok(Self::Test),
            other => Err(Error::config(
                "CONFIG_INVALID_VALUE",
                format!(
                    "environment variable FORGE_ENV: `{}` is not a mode; it is one of development, production, test",
                    other.escape_debug()
                ),
            )),
        }
    }

    /// Whether this is [`Production`](Self::Production).
    pub fn is_production(self) -> bool {
        self == Self::Production
    }

    /// The word that `FORGE_ENV` has for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Production => "production",
            Self::Test => "test",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
