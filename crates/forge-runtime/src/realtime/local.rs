//! A subscription from Rust, in this process: for tests.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use forge_core::wire::{self, WireType};
use forge_core::{Error, Result};

use super::events::ReceivedEvent;
use super::live::Live;
use super::outbox::{News, Outbox};
use super::subscriptions::{Subscribe, Unsubscribe};

/// How long [`next`](Subscription::next) waits.
const NEXT_MAX: Duration = Duration::from_secs(10);

/// A live query's results, one after the other. Ends when it is dropped.
#[derive(Debug)]
pub struct Subscription<T> {
    live: Live,
    outbox: Arc<Outbox>,
    result: PhantomData<fn() -> T>,
}

impl<T: WireType> Subscription<T> {
    /// `wish` is for the outbox's subscription 0.
    pub(crate) async fn begin(live: Live, outbox: Arc<Outbox>, wish: Subscribe) -> Self {
        live.subscribe(wish).await;
        Self { live, outbox, result: PhantomData }
    }

    /// The next result: the first one, then one for each time that it has changed. Changes that come faster than they are asked for are one.
    ///
    /// # Errors
    /// What ended the subscription, and `TIMEOUT` when nothing came for ten seconds.
    pub async fn next(&mut self) -> Result<T> {
        loop {
            if let Some(news) = self.outbox.latest(0) {
                return match news {
                    News::Result(told) => wire::read_answer(told.json.as_bytes()),
                    News::Failed(why) => Err(copy(&why)),
                };
            }
            tokio::time::timeout(NEXT_MAX, self.outbox.ready())
                .await
                .map_err(|_| Error::timeout(format!("the live query had nothing new for {NEXT_MAX:?}")))?;
        }
    }
}

impl<T> Subscription<T> {
    /// The next event that a function emits for this subscription.
    ///
    /// # Errors
    /// What ended the subscription, and `TIMEOUT` when nothing came for ten seconds.
    pub async fn next_event(&mut self) -> Result<ReceivedEvent> {
        loop {
            if let Some(event) = self.outbox.event() {
                return Ok(ReceivedEvent { name: event.name.clone(), data: serde_json::from_str(&event.data)? });
            }
            if let Some(why) = self.outbox.failure(0) {
                return Err(copy(&why));
            }
            tokio::time::timeout(NEXT_MAX, self.outbox.ready())
                .await
                .map_err(|_| Error::timeout(format!("no event came for {NEXT_MAX:?}")))?;
        }
    }
}

fn copy(why: &Error) -> Error {
    Error::new(why.kind(), why.message().to_owned()).with_code(why.code().to_owned())
}

impl<T> Drop for Subscription<T> {
    fn drop(&mut self) {
        let (live, session) = (self.live.clone(), self.outbox.id);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { live.unsubscribe(Unsubscribe { session, id: None }).await });
        }
    }
}
