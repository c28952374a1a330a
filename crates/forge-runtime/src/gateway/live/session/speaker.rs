//! Whom a session speaks for, and what becomes of it with the next token.

use std::sync::Arc;

use forge_core::auth::AuthContext;
use forge_core::{Error, ErrorKind};

use super::{Held, Session, Subscription};
use crate::auth::Principal;
use crate::function::permit;
use crate::gateway::live::hub::Hub;
use crate::gateway::live::limits::Holder;
use crate::gateway::live::message;
use crate::gateway::live::speakers::Listed;
use crate::realtime::{End, Fingerprint, Outbox, Unsubscribe};

/// How many tokens a session takes within a minute; with one more, it ends. They are good for minutes each, and one that says something else
/// has every subscription begin anew.
pub(super) const TOKENS_A_MINUTE: u32 = 30;

/// Whom it speaks for.
#[derive(Debug)]
pub(super) struct Speaker {
    pub(super) principal: Arc<Principal>,
    /// Has it woken when that sign-in ends.
    _listed: Option<Listed>,
}

impl Speaker {
    pub(super) fn new(principal: Arc<Principal>, hub: &Hub, outbox: &Arc<Outbox>) -> Self {
        let listed = principal.session.map(|sign_in| hub.speakers.list(sign_in, outbox));
        Self { principal, _listed: listed }
    }
}

impl Session {
    /// A first token, or the next one of the same user.
    pub(super) async fn authenticate(&self, token: &str, held: &mut Held) {
        if let Err(wait) = held.tokens.take() {
            let text = format!("a session takes at most {TOKENS_A_MINUTE} messages `auth` a minute");
            return self.fail(&Error::rate_limited(text, wait), End::OFTEN);
        }
        let principal = match self.hub.parts.authenticator.verify(token).await {
            Ok(principal) => principal,
            Err(why) if why.kind() == ErrorKind::Unauthorized => return self.fail(&why, End::SIGNED_OUT),
            // Nothing is known about the token, as the database or whoever publishes the keys is away.
            Err(why) => {
                tracing::debug!(error = ?why, "a token could not be verified");
                return self.outbox.end(End::AWAY);
            }
        };
        let before = self.principal();
        if before.auth.user_id().is_some() && before.auth.user_id() != principal.auth.user_id() {
            let why = Error::forbidden("a session speaks for one user; connect anew for another");
            return self.fail(&why, End::broken("another user"));
        }
        if let (None, Some(user)) = (before.auth.user_id(), principal.auth.user_id()) {
            match self.hub.seats.take(Holder::User(user.to_owned())) {
                Ok(seat) => held.user = Some(seat),
                Err(why) => return self.fail(&why, End::BUSY),
            }
            if let Err(why) = self.hub.belongs(self, user).await {
                return self.fail(&why, End::AWAY);
            }
        }
        let auth = principal.auth.clone();
        let same = before.session == principal.session && Fingerprint::of(&before.auth) == Fingerprint::of(&auth);
        *self.speaker() = Speaker::new(principal, &self.hub, &self.outbox);
        if !same {
            self.begin_anew(&auth, held).await;
        }
        self.outbox.say(r#"{"type":"authenticated"}"#.into());
    }

    /// Has everything begin anew on behalf of whom the session speaks for now: roles may have changed, and with them what may be seen.
    async fn begin_anew(&self, auth: &AuthContext, held: &mut Held) {
        // Queries first: others are present at them.
        let (queries, others): (Vec<_>, Vec<_>) =
            held.subscriptions.clone().into_iter().partition(|(_, one)| matches!(one, Subscription::Query { .. }));
        for (id, subscription) in queries.into_iter().chain(others) {
            let permitted = match &subscription {
                Subscription::Query { entry, .. } => permit(&entry.info, auth),
                Subscription::Presence(_) => Ok(()),
                Subscription::Job(following) => {
                    self.follow(id, following.job, held).await;
                    continue;
                }
            };
            match permitted {
                Ok(()) => drop(self.subscribe(id, &subscription, held).await),
                Err(why) => {
                    self.hub.parts.live.unsubscribe(Unsubscribe { session: self.outbox.id, id: Some(id) }).await;
                    for ended in held.end(id) {
                        self.outbox.forget(ended);
                        self.outbox.say(message::error(Some(ended), &why));
                    }
                }
            }
        }
    }
}
