//! A session: what a client has asked for, on whose behalf, and what it is still to be told. It knows no socket.

mod speaker;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use forge_core::request::RequestMetadata;
use forge_core::{Error, ErrorKind, Result};
use serde_json::value::RawValue;
use tokio::sync::{OwnedSemaphorePermit, watch};
use uuid::Uuid;

use super::call::{Calls, Wish};
use super::hub::Hub;
use super::job::{Follower, Following};
use super::limits::{Pace, Seat, exceeded};
use super::message::{self, Wanted};
use super::standing;
use crate::app::{NodeParts, Stage};
use crate::auth::Principal;
use crate::function::{Caller, Entry, Looked, Written, Wrote};
use crate::observability;
use crate::realtime::{
    End, JobNews, MAIL_MAX, Outbox, Presence, STATE_BYTES_MAX, Subscribe, Unsubscribe, nowhere, presence_entry,
    presence_topic,
};

use speaker::{Speaker, TOKENS_A_MINUTE};

/// A session.
#[derive(Debug)]
pub(super) struct Session {
    /// Nobody can guess it.
    pub(super) id: String,
    pub(super) outbox: Arc<Outbox>,
    hub: Arc<Hub>,
    metadata: Arc<RequestMetadata>,
    speaker: Mutex<Speaker>,
    /// One message after the other.
    held: tokio::sync::Mutex<Held>,
    calls: Calls,
    _room: OwnedSemaphorePermit,
    _address: Option<Seat>,
}

/// What it has.
#[derive(Debug)]
struct Held {
    subscriptions: BTreeMap<u64, Subscription>,
    pace: Pace,
    tokens: Pace,
    user: Option<Seat>,
    /// It takes nothing in any more.
    left: bool,
}

/// Something that it is subscribed to, to be subscribed to again on behalf of a new token.
#[derive(Debug, Clone)]
enum Subscription {
    Query { entry: Arc<Entry>, args: Arc<[u8]> },
    Presence(Presence),
    Job(Arc<Following>),
}

/// What is to be written now.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    pub(super) texts: Vec<String>,
    /// Nothing comes after this.
    pub(super) end: Option<End>,
}

/// The node's order to stop.
#[derive(Debug)]
pub(super) struct Stopping(watch::Receiver<Stage>);

impl Stopping {
    pub(super) fn of(parts: &NodeParts) -> Self {
        Self(parts.stage.clone())
    }

    pub(super) async fn ordered(&mut self) {
        // A sender that is gone is a node that is gone.
        let _ = self.0.wait_for(|stage| *stage == Stage::Stopping).await;
    }
}

impl Session {
    pub(super) fn new(
        hub: Arc<Hub>,
        metadata: Arc<RequestMetadata>,
        principal: Arc<Principal>,
        room: OwnedSemaphorePermit,
        address: Option<Seat>,
        user: Option<Seat>,
    ) -> Self {
        observability::live().session_began();
        let pace = Pace::new(hub.parts.config.gateway.subscription_rate_limit);
        let held = Held { subscriptions: BTreeMap::new(), pace, tokens: Pace::new(TOKENS_A_MINUTE), user, left: false };
        let outbox = Outbox::new();
        Self {
            id: URL_SAFE_NO_PAD.encode(rand::random::<[u8; 18]>()),
            speaker: Mutex::new(Speaker::new(principal, &hub, &outbox)),
            outbox,
            hub,
            metadata,
            held: tokio::sync::Mutex::new(held),
            calls: Calls::default(),
            _room: room,
            _address: address,
        }
    }

    /// Whom it speaks for.
    pub(super) fn principal(&self) -> Arc<Principal> {
        self.speaker().principal.clone()
    }

    fn speaker(&self) -> MutexGuard<'_, Speaker> {
        self.speaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there may be something to write. Sees to it that the session ends when its token does, or the node stops.
    pub(super) async fn due(&self, stopping: &mut Stopping) {
        tokio::select! {
            () = self.outbox.ready() => {}
            () = tokio::time::sleep(self.good_for()) => self.sign_out(),
            () = stopping.ordered() => self.outbox.end(End::STOPPING),
        }
    }

    /// For how long its token is good still.
    pub(super) fn good_for(&self) -> Duration {
        standing::good_for(&self.principal())
    }

    pub(super) fn sign_out(&self) {
        self.fail(&standing::has_ended(), End::SIGNED_OUT);
    }

    /// Ends the session, with a reason for the client.
    fn fail(&self, why: &Error, end: End) {
        self.outbox.end_saying(message::error(None, why), end);
    }

    /// Takes what is to be written. Before anything of it is shown, it is made sure that it still may be.
    pub(super) async fn outgoing(&self) -> Outgoing {
        if self.outbox.is_empty() {
            return Outgoing::default();
        }
        // Taken before anything is asked, so that what is shown is no newer than the answer.
        let mut taken = self.outbox.take();
        if !self.may_be_shown().await {
            // Of what was taken, the answers to its calls, and then its last word.
            let said = std::mem::take(&mut taken.said);
            taken = self.outbox.take();
            taken.said.splice(0..0, said);
        }
        let mut texts = taken.said;
        for (id, why) in taken.failures {
            self.held.lock().await.subscriptions.remove(&id);
            self.log(&why);
            texts.push(message::error(Some(id), &why));
        }
        if let Some(frame) = taken.frame {
            observability::live().frame(frame.len());
            texts.push(frame);
        }
        texts.extend(taken.events);
        for (id, turn, news) in taken.jobs {
            let over = match news {
                JobNews::Stands { text, over } => {
                    texts.push(text);
                    over
                }
                JobNews::Failed(why) => {
                    self.log(&why);
                    texts.push(message::error(Some(id), &why));
                    true
                }
            };
            if over {
                self.held.lock().await.over(id, turn);
            }
        }
        Outgoing { texts, end: taken.end }
    }

    /// Whether the client may be shown anything more; ends the session otherwise.
    async fn may_be_shown(&self) -> bool {
        match standing::check(&self.principal(), &self.hub.parts.accounts.revocations).await {
            Ok(()) => return true,
            Err(why) if why.kind() == ErrorKind::Unauthorized => self.sign_out(),
            // The client connects again, and is told then.
            Err(_) => self.outbox.end(End::AWAY),
        }
        false
    }

    /// The client is gone, or is to go.
    pub(super) async fn leave(&self) {
        let mut held = self.held.lock().await;
        held.left = true;
        held.subscriptions.clear();
        self.hub.parts.live.unsubscribe(Unsubscribe { session: self.outbox.id, id: None }).await;
    }

    /// Takes in a message of a WebSocket, where one that is not understood ends the session.
    pub(super) async fn hear_text(&self, text: &str) {
        match Wanted::read(text) {
            Ok(wanted) => {
                let mut held = self.held.lock().await;
                self.hear_one(wanted, &mut held).await;
            }
            Err(why) => self.fail(&why, End::broken("the message is not understood")),
        }
    }

    /// The message is too large to be looked at.
    pub(super) fn refuse_size(&self, bytes: usize) {
        let max = self.hub.parts.config.gateway.max_body_size;
        let why = Error::payload_too_large(format!(
            "the message has {bytes} bytes, more than gateway.max_body_size = {max}; the session ends"
        ));
        self.fail(&why, End::TOO_LARGE);
    }

    /// Takes in messages that came by POST, after those that were sent before and came to another node.
    ///
    /// # Errors
    /// When the database is away. Then nothing of them was taken in.
    pub(super) async fn hear_posted(&self, all: Vec<Wanted>) -> Result<()> {
        let mut held = self.held.lock().await;
        self.fetch_into(&mut held).await?;
        self.hear(all, &mut held).await;
        Ok(())
    }

    /// Takes in what other nodes took for this session.
    ///
    /// # Errors
    /// When the database is away.
    pub(super) async fn fetch(&self) -> Result<()> {
        let mut held = self.held.lock().await;
        self.fetch_into(&mut held).await
    }

    async fn fetch_into(&self, held: &mut Held) -> Result<()> {
        let parts = &self.hub.parts;
        loop {
            let bodies = parts.live.roll().take_mail(&parts.database, &self.id).await?;
            for body in &bodies {
                match Wanted::read_all(body) {
                    Ok(all) => self.hear(all, held).await,
                    // It was looked at before, by a node of another version.
                    Err(why) => self.outbox.say(message::error(None, &why)),
                }
            }
            if bodies.len() < MAIL_MAX {
                return Ok(());
            }
        }
    }

    /// Takes in messages, one after the other.
    async fn hear(&self, all: Vec<Wanted>, held: &mut Held) {
        for wanted in all {
            if !held.left {
                self.hear_one(wanted, held).await;
            }
        }
    }

    async fn hear_one(&self, wanted: Wanted, held: &mut Held) {
        match wanted {
            Wanted::Ping => self.outbox.say(r#"{"type":"pong"}"#.into()),
            Wanted::Auth { token } => self.authenticate(&token, held).await,
            Wanted::Unsubscribe { id } => self.unsubscribe(id, held).await,
            Wanted::Subscribe { id, function, args, version } => {
                let args = args.as_ref().map_or("{}", |args| args.get());
                let subscription = self.query(id, &function, args, held);
                if subscription.is_ok() {
                    // Of a number in use, something may be on its way that the client did not know of when it said so.
                    let version = version.filter(|_| !held.subscriptions.contains_key(&id));
                    self.outbox.holds(id, version.as_deref());
                }
                self.begin(id, subscription, held).await;
            }
            Wanted::Presence { id, of, state } => {
                let subscription = self.presence(id, of, state.as_deref(), held);
                self.begin(id, subscription, held).await;
            }
            Wanted::SubscribeJob { id, job } => match self.job(id, &job, held) {
                Ok(job) => self.follow(id, job, held).await,
                Err(why) => self.begin(id, Err(why), held).await,
            },
            Wanted::Call { id, function, args, mutation_id } => {
                let wish = Wish { id, function, args, mutation_id };
                self.calls.begin(wish, self.caller(), &self.outbox, &self.hub.parts);
            }
        }
    }

    fn caller(&self) -> Arc<Caller> {
        let (principal, request) = (self.principal(), self.metadata.clone());
        let (written, wrote, looked) = (Written::default(), Wrote::default(), Looked::default());
        Arc::new(Caller { principal, request, written, wrote, looked })
    }

    /// Whether there is room for one more.
    fn admit(&self, id: u64, held: &mut Held) -> Result<()> {
        let config = &self.hub.parts.config.gateway;
        held.pace.take().map_err(|wait| {
            let (max, limit) = (config.subscription_rate_limit, "gateway.subscription_rate_limit");
            let text = format!(
                "a session sends at most {max} messages `subscribe`, `presence` and `subscribeJob` a minute ({limit})"
            );
            exceeded(text, limit, max, wait)
        })?;
        let max = config.max_subscriptions_per_connection;
        if held.subscriptions.len() >= max as usize && !held.subscriptions.contains_key(&id) {
            let limit = "gateway.max_subscriptions_per_connection";
            let text = format!("a session has at most {max} subscriptions ({limit}); end some of them first");
            return Err(exceeded(text, limit, max, 1).with_code("TOO_MANY_SUBSCRIPTIONS"));
        }
        Ok(())
    }

    fn query(&self, id: u64, function: &str, args: &str, held: &mut Held) -> Result<Subscription> {
        self.admit(id, held)?;
        let (entry, args) = self.hub.parts.executor.subscribable(function, args.as_bytes(), &self.principal().auth)?;
        Ok(Subscription::Query { entry, args })
    }

    fn presence(&self, id: u64, of: u64, state: Option<&RawValue>, held: &mut Held) -> Result<Subscription> {
        self.admit(id, held)?;
        if id == of || !matches!(held.subscriptions.get(&of), Some(Subscription::Query { .. })) {
            return Err(nowhere(of));
        }
        let state = state.map(RawValue::get);
        if let Some(bytes) = state.map(str::len).filter(|bytes| *bytes > STATE_BYTES_MAX) {
            return Err(Error::payload_too_large(format!(
                "the state has {bytes} bytes, more than the {STATE_BYTES_MAX} that one who is present may have"
            )));
        }
        Ok(Subscription::Presence(Presence { of, state: state.map(Into::into) }))
    }

    fn job(&self, id: u64, job: &str, held: &mut Held) -> Result<Uuid> {
        self.admit(id, held)?;
        job.parse().map_err(|_| Error::invalid_argument("`jobId` is not the id of a job: a UUID"))
    }

    /// Follows a job, on behalf of whom the session speaks for now.
    async fn follow(&self, id: u64, job: Uuid, held: &mut Held) {
        if held.subscriptions.contains_key(&id) {
            self.unsubscribe(id, held).await;
        }
        let parts = &self.hub.parts;
        let follower = Follower {
            jobs: parts.jobs.clone(),
            outbox: self.outbox.clone(),
            id,
            auth: self.principal().auth.clone(),
            output_max: usize::try_from(parts.config.function.max_result_size).unwrap_or(usize::MAX),
        };
        held.subscriptions.insert(id, Subscription::Job(Arc::new(follower.begin(job))));
    }

    /// Begins a subscription, or says why not.
    async fn begin(&self, id: u64, subscription: Result<Subscription>, held: &mut Held) {
        match subscription {
            Ok(subscription) => {
                if matches!(held.subscriptions.get(&id), Some(Subscription::Job(_))) {
                    // The number is about something else from now on.
                    self.outbox.forget(id);
                }
                if self.subscribe(id, &subscription, held).await {
                    held.subscriptions.insert(id, subscription);
                }
            }
            Err(why) => {
                self.log(&why);
                if held.subscriptions.contains_key(&id) {
                    // An error with a number is the end of what that number stood for.
                    self.unsubscribe(id, held).await;
                }
                self.outbox.say(message::error(Some(id), &why));
            }
        }
    }

    /// Asks for a subscription. False when there is nothing that it could be about.
    async fn subscribe(&self, id: u64, subscription: &Subscription, held: &Held) -> bool {
        let (entry, args, presence) = match subscription {
            Subscription::Query { entry, args } => (entry.clone(), args.clone(), None),
            Subscription::Presence(presence) => {
                let Some(Subscription::Query { entry, args }) = held.subscriptions.get(&presence.of) else { return false };
                let topic = serde_json::Value::from(presence_topic(entry.info.name, args)).to_string();
                (presence_entry(), topic.into_bytes().into(), Some(presence.clone()))
            }
            // Begun otherwise.
            Subscription::Job(_) => return true,
        };
        let (outbox, caller) = (self.outbox.clone(), self.caller());
        self.hub.parts.live.subscribe(Subscribe { outbox, id, entry, args, caller, presence }).await;
        true
    }

    async fn unsubscribe(&self, id: u64, held: &mut Held) {
        self.hub.parts.live.unsubscribe(Unsubscribe { session: self.outbox.id, id: Some(id) }).await;
        for ended in held.end(id) {
            self.outbox.forget(ended);
        }
    }

    fn log(&self, why: &Error) {
        log(why, &self.metadata);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        observability::live().session_ended();
    }
}

impl Held {
    /// A job is not followed any more.
    fn over(&mut self, id: u64, turn: u64) {
        if matches!(self.subscriptions.get(&id), Some(Subscription::Job(following)) if following.turn == turn) {
            self.subscriptions.remove(&id);
        }
    }

    /// Ends a subscription, and with it that one is present there. Returns all that ended.
    fn end(&mut self, id: u64) -> Vec<u64> {
        let about = |one: &Subscription| matches!(one, Subscription::Presence(presence) if presence.of == id);
        let mut ended: Vec<u64> =
            self.subscriptions.extract_if(.., |key, one| *key == id || about(one)).map(|(id, _)| id).collect();
        if !ended.contains(&id) {
            ended.push(id);
        }
        ended
    }
}

/// Writes down what is the server's own mistake: the client is not told.
pub(super) fn log(why: &Error, metadata: &RequestMetadata) {
    if matches!(why.kind(), ErrorKind::Internal | ErrorKind::Database | ErrorKind::Config) {
        tracing::error!(request_id = metadata.request_id.as_str(), error = ?why, "a live query or call failed");
    }
}
