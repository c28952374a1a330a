//! What the live sessions of a node share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use forge_core::request::RequestMetadata;
use forge_core::{Error, Result};
use http::HeaderMap;
use tokio_util::sync::CancellationToken;

use super::limits::{Admission, Holder, Seats};
use super::session::Session;
use super::speakers::Speakers;
use crate::app::{NodeParts, Stage};
use crate::auth::Principal;
use crate::auth::client_ip::block;
use crate::realtime::End;

/// How often it is looked for sessions whose clients take nothing.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// How long to wait after messages could not be fetched.
const PAUSE: Duration = Duration::from_millis(200);

/// How long a client may take to take a message.
pub(super) const WRITE_MAX: Duration = Duration::from_secs(30);

/// What the live sessions of a node share.
#[derive(Debug)]
pub(in crate::gateway) struct Hub {
    pub(super) parts: NodeParts,
    pub(super) admission: Admission,
    pub(super) seats: Arc<Seats>,
    pub(super) speakers: Arc<Speakers>,
    /// Sessions that take messages by POST.
    posted: Mutex<HashMap<String, Arc<Session>>>,
}

impl Hub {
    pub(in crate::gateway) fn new(parts: NodeParts) -> Arc<Self> {
        let config = &parts.config.gateway;
        let (admission, seats) = (Admission::new(config), Seats::new(config));
        Arc::new(Self { admission, seats, speakers: Arc::default(), posted: Mutex::default(), parts })
    }

    /// Whether sessions can be begun.
    ///
    /// # Errors
    /// `DATABASE_UNAVAILABLE` when the node starts or stops.
    pub(super) fn ready(&self) -> Result<()> {
        if *self.parts.stage.borrow() == Stage::Ready {
            return Ok(());
        }
        Err(Error::database_unavailable("the server is starting or stopping; try again"))
    }

    /// Finds out who opens a session, and begins it for them, once it is their turn. None for those whose cookies want renewal.
    ///
    /// # Errors
    /// Those of [`ready`](Self::ready), `UNAUTHORIZED` or `FORBIDDEN` for whoever is not let in, `RATE_LIMITED` when too many come at a time, and
    /// those of the beginning.
    pub(super) async fn admit<T>(
        &self,
        headers: &HeaderMap,
        begin: impl AsyncFnOnce(Arc<Principal>) -> Result<T>,
    ) -> Result<Option<T>> {
        self.ready()?;
        let setting_up = async {
            match self.parts.authenticator.authenticate_session(headers).await? {
                Some(principal) => begin(principal).await.map(Some),
                None => Ok(None),
            }
        };
        self.admission.one(setting_up).await
    }

    /// A session of somebody.
    ///
    /// # Errors
    /// `TOO_MANY_SESSIONS` when their address or their user has too many, `RATE_LIMITED` when the node has.
    pub(super) fn session(self: &Arc<Self>, metadata: Arc<RequestMetadata>, principal: Arc<Principal>) -> Result<Session> {
        let room = self.admission.session()?;
        let address = metadata.client_ip.map(|address| self.seats.take(Holder::Address(block(address)))).transpose()?;
        let user = principal.auth.user_id().map(|user| self.seats.take(Holder::User(user.to_owned()))).transpose()?;
        Ok(Session::new(self.clone(), metadata, principal, room, address, user))
    }

    fn posted(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Session>>> {
        self.posted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session takes messages by POST from now on, at every node. Whoever opens it [closes](Self::close) it, whatever comes of this.
    ///
    /// # Errors
    /// `DATABASE_UNAVAILABLE` when the others cannot be told.
    pub(super) async fn open(&self, session: &Arc<Session>) -> Result<()> {
        self.posted().insert(session.id.clone(), session.clone());
        self.parts.live.open(&session.id, session.principal().auth.user_id()).await
    }

    /// A session is somebody's from now on, at every node, if it takes messages by POST.
    ///
    /// # Errors
    /// `DATABASE_UNAVAILABLE` when the others cannot be told.
    pub(super) async fn belongs(&self, session: &Session, user: &str) -> Result<()> {
        if self.find(&session.id).is_none() {
            return Ok(());
        }
        let told = self.parts.live.open(&session.id, Some(user)).await;
        if self.find(&session.id).is_none() {
            // It has ended meanwhile, and would be on the roll for ever.
            self.parts.live.roll().close(&session.id);
        }
        told
    }

    /// It has ended.
    pub(super) fn close(&self, session: &Session) {
        self.posted().remove(&session.id);
        self.parts.live.roll().close(&session.id);
    }

    /// The session of an id, if it is one of this node that takes messages by POST.
    pub(super) fn find(&self, id: &str) -> Option<Arc<Session>> {
        self.posted().get(id).cloned()
    }

    /// Hands on what other nodes took in for sessions of this one, wakes those whose sign-in has ended, and ends those whose clients take
    /// nothing, until told to stop.
    pub(in crate::gateway) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let roll = self.parts.live.roll().clone();
        let mut endings = self.parts.accounts.revocations.endings();
        let mut look = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = roll.mail() => self.hand_on().await,
                // Of too many at a time it is not known any more which they were.
                ended = endings.recv() => self.speakers.wake(ended.ok()),
                _ = look.tick() => self.end_stalled().await,
            }
        }
    }

    /// A client that takes nothing does not ask for more, so its session does not end by itself.
    async fn end_stalled(&self) {
        let stalled = |session: &&Arc<Session>| session.outbox.is_stalled(WRITE_MAX);
        let stalled: Vec<Arc<Session>> = self.posted().values().filter(stalled).cloned().collect();
        for session in stalled {
            session.outbox.end(End::SLOW);
            self.close(&session);
            session.leave().await;
        }
    }

    async fn hand_on(&self) {
        let handing = async {
            for id in self.parts.live.roll().mail_waiting(&self.parts.database).await? {
                // One that has ended meanwhile wants nothing any more.
                if let Some(session) = self.find(&id) {
                    session.fetch().await?;
                }
            }
            Ok::<_, Error>(())
        };
        if let Err(why) = handing.await {
            tracing::warn!(error = ?why, "messages for live sessions could not be fetched; trying again");
            tokio::time::sleep(PAUSE).await;
            self.parts.live.roll().mail_for(None);
        }
    }
}
