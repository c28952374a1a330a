//! How many requests are worked on at once, and how much of their bodies may be on its way.
//!
//! A request has a place while it is worked on. It steps aside while its body is waited for, so that whoever sends slowly, or nothing at all,
//! keeps nobody else from being answered. What has arrived by then takes memory: that is counted, over all who stand aside.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use forge_core::{Error, ErrorKind, Result};
use http_body_util::BodyExt as _;
use hyper::body::Body;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::GatewayConfig;

/// How many bytes of bodies that are waited for may be here, of all requests together. A request that brings more is refused.
const ASIDE_BYTES_MAX: usize = 256 << 20;

/// How many bodies of the largest size fit into that at least.
const ASIDE_BODIES_MIN: usize = 8;

/// Where requests are worked on.
#[derive(Debug)]
pub(super) struct Room {
    places: Arc<Semaphore>,
    /// Bytes of bodies that are waited for.
    aside: Arc<Semaphore>,
}

/// A request's place. Free again when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    room: Arc<Room>,
    taken: Mutex<Option<OwnedSemaphorePermit>>,
}

impl Room {
    pub(super) fn new(config: &GatewayConfig) -> Arc<Self> {
        let largest = usize::try_from(config.max_body_size).unwrap_or(usize::MAX).saturating_mul(ASIDE_BODIES_MIN);
        Arc::new(Self {
            places: Arc::new(Semaphore::new(config.max_in_flight as usize)),
            aside: Arc::new(Semaphore::new(ASIDE_BYTES_MAX.max(largest).min(Semaphore::MAX_PERMITS))),
        })
    }

    /// A place.
    ///
    /// # Errors
    /// `RATE_LIMITED` when there is none.
    pub(super) fn enter(self: &Arc<Self>) -> Result<Place> {
        let place = self.beside();
        place.take()?;
        Ok(place)
    }

    /// For a request that needs no place.
    pub(super) fn beside(self: &Arc<Self>) -> Place {
        Place { room: self.clone(), taken: Mutex::new(None) }
    }
}

impl Place {
    fn take(&self) -> Result<()> {
        let taken = self.room.places.clone().try_acquire_owned().map_err(|_| full())?;
        *self.taken.lock().unwrap_or_else(PoisonError::into_inner) = Some(taken);
        Ok(())
    }

    fn leave(&self) {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Reads a body within its limits of size and time. The place is given up as long as the body is waited for.
    ///
    /// # Errors
    /// `PAYLOAD_TOO_LARGE`, `TIMEOUT` or `INVALID_ARGUMENT` when it is too large, comes too late or ends early; `RATE_LIMITED` when there is no place
    /// any more, or no room for what has arrived.
    pub(super) async fn read<B>(&self, body: B, config: &GatewayConfig) -> Result<Bytes>
    where
        B: Body<Data = Bytes>,
    {
        match tokio::time::timeout(config.request_timeout, self.take_in(body, config.max_body_size)).await {
            Ok(body) => body,
            Err(_) => Err(Error::timeout("the body did not arrive within gateway.request_timeout")),
        }
    }

    async fn take_in<B: Body<Data = Bytes>>(&self, body: B, max: u64) -> Result<Bytes> {
        let mut body = pin!(body);
        let mut chunks = Chunks::default();
        let mut aside: Option<Aside> = None;
        while !body.is_end_stream() {
            let mut next = body.frame();
            let frame = match at_once(&mut next).await {
                Some(frame) => frame,
                None => {
                    if aside.is_none() {
                        let mut waiting = Aside { room: &self.room, bytes: None };
                        waiting.count(chunks.len())?;
                        self.leave();
                        aside = Some(waiting);
                    }
                    next.await
                }
            };
            let Some(frame) = frame else { break };
            let frame = frame.map_err(|_| Error::new(ErrorKind::InvalidArgument, "the body ended early"))?;
            // What else there may be are trailers, of which nothing is made.
            let Ok(chunk) = frame.into_data() else { continue };
            if (chunks.len() + chunk.len()) as u64 > max {
                let text = format!("the body is larger than {max} bytes (gateway.max_body_size)");
                return Err(Error::payload_too_large(text));
            }
            aside.as_mut().map_or(Ok(()), |aside| aside.count(chunk.len()))?;
            chunks.push(chunk);
        }
        if aside.is_some() {
            self.take()?;
        }
        Ok(chunks.whole())
    }
}

/// What is there already; `None` when it has to be waited for. That shows the second time that it is asked for: what has come with a request's head
/// is handed on between the first time and the second.
async fn at_once<F: Future + Unpin>(coming: &mut F) -> Option<F::Output> {
    let mut asked = false;
    poll_fn(|cx| match Pin::new(&mut *coming).poll(cx) {
        Poll::Ready(there) => Poll::Ready(Some(there)),
        Poll::Pending if asked => Poll::Ready(None),
        Poll::Pending => {
            asked = true;
            Poll::Pending
        }
    })
    .await
}

/// What a request that stands aside has brought. Dropped, it is not counted any more.
struct Aside<'a> {
    room: &'a Room,
    bytes: Option<OwnedSemaphorePermit>,
}

impl Aside<'_> {
    fn count(&mut self, bytes: usize) -> Result<()> {
        let busy = || Error::rate_limited("the server takes in as much as it may; try again", 1);
        let bytes = u32::try_from(bytes).map_err(|_| busy())?;
        let more = self.room.aside.clone().try_acquire_many_owned(bytes).map_err(|_| busy())?;
        match &mut self.bytes {
            Some(counted) => counted.merge(more),
            None => self.bytes = Some(more),
        }
        Ok(())
    }
}

/// A body's parts. Most bodies have one, which is then not copied.
#[derive(Default)]
struct Chunks {
    first: Bytes,
    all: BytesMut,
}

impl Chunks {
    fn len(&self) -> usize {
        if self.all.is_empty() { self.first.len() } else { self.all.len() }
    }

    fn push(&mut self, chunk: Bytes) {
        if self.len() == 0 {
            self.first = chunk;
            return;
        }
        if self.all.is_empty() {
            self.all.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.all.extend_from_slice(&chunk);
    }

    fn whole(self) -> Bytes {
        if self.all.is_empty() { self.first } else { self.all.freeze() }
    }
}

fn full() -> Error {
    Error::rate_limited("the server works on as many requests as it may; try again", 1)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::time::Duration;

    use futures_util::{poll, stream};
    use http_body_util::{Full, StreamBody};
    use hyper::body::Frame;
    use tokio::sync::mpsc;

    use super::*;

    fn config() -> GatewayConfig {
        GatewayConfig { max_in_flight: 1, max_body_size: 1_000, ..GatewayConfig::default() }
    }

    /// A body that comes in parts, and where they come from.
    fn in_parts() -> (mpsc::Sender<&'static str>, impl Body<Data = Bytes, Error = Infallible>) {
        let (parts, coming) = mpsc::channel::<&str>(8);
        let frames = stream::unfold(coming, |mut coming| async move {
            let part = coming.recv().await?;
            Some((Ok(Frame::data(Bytes::from_static(part.as_bytes()))), coming))
        });
        (parts, StreamBody::new(frames))
    }

    #[tokio::test]
    async fn who_waits_for_a_body_holds_no_place_and_has_one_when_it_is_there() {
        let (config, room) = (config(), Room::new(&config()));
        let place = room.enter().unwrap();
        assert_eq!(room.enter().unwrap_err().code(), "RATE_LIMITED");
        let (parts, body) = in_parts();
        let mut reading = Box::pin(place.read(body, &config));
        assert!(poll!(&mut reading).is_pending());
        assert_eq!(room.enter().unwrap_err().code(), "RATE_LIMITED", "it may be there in a moment");
        assert!(poll!(&mut reading).is_pending());
        let other = room.enter().unwrap();
        for part in ["a ", "whole ", "body"] {
            parts.send(part).await.unwrap();
            assert!(poll!(&mut reading).is_pending());
        }
        assert_eq!(room.aside.available_permits(), ASIDE_BYTES_MAX - "a whole body".len());
        drop((other, parts));
        assert_eq!(reading.await.unwrap(), "a whole body");
        assert_eq!(room.enter().unwrap_err().code(), "RATE_LIMITED");
        assert_eq!(room.aside.available_permits(), ASIDE_BYTES_MAX);
        drop(place);
        drop(room.enter().unwrap());
    }

    #[tokio::test]
    async fn whose_place_is_taken_meanwhile_is_told_to_come_back() {
        let (config, room) = (config(), Room::new(&config()));
        let place = room.enter().unwrap();
        let (parts, body) = in_parts();
        let mut reading = Box::pin(place.read(body, &config));
        assert!(poll!(&mut reading).is_pending() && poll!(&mut reading).is_pending());
        let other = room.enter().unwrap();
        drop(parts);
        assert_eq!(reading.await.unwrap_err().code(), "RATE_LIMITED");
        drop(other);
        // A body that is there already is never waited for.
        let place = room.enter().unwrap();
        let mut reading = Box::pin(place.read(Full::new(Bytes::from_static(b"{}")), &config));
        assert!(poll!(&mut reading).is_ready());
        assert!(room.enter().is_err());
    }

    #[tokio::test]
    async fn what_has_arrived_is_limited_each_and_in_all() {
        let (config, room) = (config(), Room::new(&config()));
        let whole = "x".repeat(1_001);
        let too_large = room.beside().read(Full::new(Bytes::from(whole)), &config).await;
        assert_eq!(too_large.unwrap_err().code(), "PAYLOAD_TOO_LARGE");
        let hog = room.aside.clone().try_acquire_many_owned(u32::try_from(ASIDE_BYTES_MAX - 3).unwrap()).unwrap();
        let place = room.beside();
        let (parts, body) = in_parts();
        let mut reading = Box::pin(place.read(body, &config));
        parts.send("abc").await.unwrap();
        assert!(poll!(&mut reading).is_pending() && poll!(&mut reading).is_pending());
        parts.send("d").await.unwrap();
        assert_eq!(reading.await.unwrap_err().code(), "RATE_LIMITED");
        drop(hog);
        let late = GatewayConfig { request_timeout: Duration::from_millis(1), ..config };
        let (_parts, body) = in_parts();
        assert_eq!(room.beside().read(body, &late).await.unwrap_err().code(), "TIMEOUT");
        assert_eq!(room.aside.available_permits(), ASIDE_BYTES_MAX);
    }
}
