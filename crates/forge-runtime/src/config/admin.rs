//! `[admin]`: who may operate the app from outside.

use std::collections::HashSet;
use std::time::Duration;

use super::Secret;
use super::kind::{duration, optional, secret, text};
use super::table::{section, tables};
use super::units::days;

/// The fewest characters of an admin token. Production asks for more, see the checks of secrets.
const TOKEN_MIN: usize = 16;

section! {
    /// Who may operate the app from outside: the doors below `/_api`, which the commands `forge jobs`, `queues`, `cron` and `cluster` use. As long
    /// as neither a role nor a token is said, these doors do not exist.
    pub struct AdminConfig(mode) {
        /// A role of the app's own users: whoever is signed in and has it may use the doors. Not set: no user may.
        role: Option<String> = None, optional(text());
        /// What machines and the `forge` command show, as `Authorization: Bearer`: at least 16 characters, in production 32 random bytes; no dot and no
        /// space. `forge dev` makes one for the app's folder when none is said.
        token: Option<Secret> = None, optional(secret());
        /// Further tokens, each with a name that the audit has: one for each machine, or the next one while the last one is still in use.
        tokens: Vec<AdminToken> = Vec::new(), tables(AdminToken::check);
        /// How long it is kept who did what.
        audit_retain: Duration = days(400), duration(days(1)..=days(3650));
    }
}

section! {
    /// A token with a name.
    pub struct AdminToken(mode) {
        /// What the audit calls whoever shows it.
        name: String = String::new(), text();
        /// The token.
        secret: Secret = Secret::default(), secret();
    }
}

impl AdminToken {
    fn check(&self) -> Result<(), String> {
        if self.name.is_empty() || self.secret.is_empty() {
            return Err("needs both `name` and `secret`".into());
        }
        Ok(())
    }
}

impl AdminConfig {
    /// Whether anybody may come in.
    pub(crate) fn is_open(&self) -> bool {
        self.role.is_some() || self.all_tokens().next().is_some()
    }

    /// All tokens, each with what the audit calls it.
    pub(crate) fn all_tokens(&self) -> impl Iterator<Item = (&str, &Secret)> {
        let first = self.token.iter().map(|secret| ("token", secret));
        first.chain(self.tokens.iter().map(|token| (token.name.as_str(), &token.secret)))
    }

    /// What is wrong with it, with the key that says it. `signing` is what the tokens of users are signed with.
    pub(super) fn problems(&self, signing: Option<&Secret>) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        let (mut names, mut secrets) = (HashSet::new(), HashSet::new());
        for (at, (name, secret)) in self.all_tokens().enumerate() {
            let key = if at == 0 && self.token.is_some() { "admin.token" } else { "admin.tokens" };
            let text = secret.expose();
            if text.len() < TOKEN_MIN {
                problems.push((key, format!("has a token of {} characters; {TOKEN_MIN} are needed at least", text.len())));
            }
            // A dot is what tells tokens of users from these.
            if !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'.') {
                problems.push((key, "has a token with a dot, a space or other characters that it cannot have".into()));
            }
            if signing.is_some_and(|signing| signing.expose() == text) {
                problems.push((key, "has the secret that the tokens of users are signed with; make another one".into()));
            }
            if !names.insert(name) {
                problems.push((key, format!("has two tokens of the name `{}`", name.escape_debug())));
            }
            if !secrets.insert(text) {
                problems.push((key, format!("has the token `{}` twice, under another name", name.escape_debug())));
            }
        }
        problems
    }
}
