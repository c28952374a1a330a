//! Poolers such as PgBouncer between the app and the server: noticed, and lived with.
//!
//! A pooler gives a client another server process for every transaction (or may: how it is set up cannot be seen from here, so
//! that is always assumed). What belongs to a session is then lost, or worse, found by somebody else. So through a pooler:
//!
//! - settings are made inside of transactions only, which is how mutations and reads of their own always do it;
//! - short reads are not pipelined over shared connections, as those live on a session's settings;
//! - prepared statements have no names, see [`super::unnamed`];
//! - what needs a session goes to `database.direct_url`: the lock of migrations, and the driver's own client.
//!
//! It is noticed by the process id that the server tells at the start of a connection for cancelling: a pooler cannot tell the
//! one of a server process that it has yet to choose, so it makes one up, and `pg_backend_pid()` says another. That
//! holds for session pooling too. It is looked at once per address and process.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OnceCell;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};

use super::tls::MakeTls;
use super::unnamed::Translator;

/// Where an address leads: to the server, or to a pooler before it. Shared by all that connects to it.
#[derive(Debug, Default, Clone)]
pub(crate) struct Route(Arc<OnceCell<bool>>);

impl Route {
    /// Whether it leads to a pooler. `probe` finds out, at the first time that it succeeds.
    pub(super) async fn is_pooled<E>(&self, probe: impl Future<Output = Result<bool, E>>) -> Result<bool, E> {
        self.0.get_or_try_init(|| probe).await.copied()
    }

    /// Whether it is known to lead to a pooler.
    pub(crate) fn known_pooled(&self) -> bool {
        self.0.get() == Some(&true)
    }
}

/// Makes connections whose statements have no names.
#[derive(Debug, Clone)]
pub(super) struct Through {
    /// Not encrypted without it.
    tls: Option<MakeTls>,
    process_id: Arc<OnceLock<i32>>,
}

impl Through {
    pub(super) fn new(tls: Option<MakeTls>) -> Self {
        Self { tls, process_id: Arc::default() }
    }

    /// The same for another connection.
    pub(super) fn again(&self) -> Self {
        Self::new(self.tls.clone())
    }

    /// The process id that was told at the start of the connection.
    pub(super) fn process_id(&self) -> Option<i32> {
        self.process_id.get().copied()
    }
}

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl<S> MakeTlsConnect<S> for Through
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = Unnamed;
    type TlsConnect = Connect<<MakeTls as MakeTlsConnect<S>>::TlsConnect>;
    type Error = BoxError;

    fn make_tls_connect(&mut self, host: &str) -> Result<Self::TlsConnect, BoxError> {
        let tls = match &mut self.tls {
            Some(tls) => Some(MakeTlsConnect::<S>::make_tls_connect(tls, host)?),
            None => None,
        };
        Ok(Connect { tls, process_id: self.process_id.clone() })
    }
}

/// Makes one connection.
pub(super) struct Connect<T> {
    tls: Option<T>,
    process_id: Arc<OnceLock<i32>>,
}

impl<S, T> TlsConnect<S> for Connect<T>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: TlsConnect<S>,
    T::Stream: Send + 'static,
    T::Future: Send + 'static,
{
    type Stream = Unnamed;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Unnamed, BoxError>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        let process_id = self.process_id;
        match self.tls {
            None => Box::pin(async { Ok(Unnamed::new(Box::new(stream), None, process_id)) }),
            Some(tls) => {
                let connecting = tls.connect(stream);
                Box::pin(async {
                    let stream = connecting.await.map_err(Into::into)?;
                    let binding = stream.channel_binding();
                    Ok(Unnamed::new(Box::new(stream), Some(binding), process_id))
                })
            }
        }
    }
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection to a pooler.
pub(super) struct Unnamed {
    io: Box<dyn Io>,
    /// The driver asks for it once.
    binding: Mutex<Option<ChannelBinding>>,
    translator: Translator,
    read: BytesMut,
    write: BytesMut,
    process_id: Arc<OnceLock<i32>>,
}

/// How much may wait to be sent before the driver has to wait.
const UNSENT_MAX: usize = 64 * 1024;

impl Unnamed {
    fn new(io: Box<dyn Io>, binding: Option<ChannelBinding>, process_id: Arc<OnceLock<i32>>) -> Self {
        Self {
            io,
            binding: Mutex::new(binding),
            translator: Translator::new(),
            read: BytesMut::new(),
            write: BytesMut::new(),
            process_id,
        }
    }

    /// Sends all that waits.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.write.is_empty() {
            let sent = ready!(Pin::new(&mut self.io).poll_write(cx, &self.write))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.write.advance(sent);
        }
        Poll::Ready(Ok(()))
    }
}

impl TlsStream for Unnamed {
    fn channel_binding(&self) -> ChannelBinding {
        let binding = self.binding.lock().unwrap_or_else(PoisonError::into_inner).take();
        binding.unwrap_or_else(ChannelBinding::none)
    }
}

impl AsyncRead for Unnamed {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.read.is_empty() {
            let mut chunk = [0; 16 * 1024];
            let mut chunk = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut this.io).poll_read(cx, &mut chunk))?;
            if chunk.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.translator.receive(chunk.filled(), &mut this.read)?;
            if let Some(id) = this.translator.process_id() {
                this.process_id.get_or_init(|| id);
            }
        }
        let length = this.read.len().min(buffer.remaining());
        buffer.put_slice(&this.read[..length]);
        this.read.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Unnamed {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.write.len() > UNSENT_MAX {
            ready!(this.poll_send(cx))?;
        }
        this.translator.send(bytes, &mut this.write)?;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx))?;
        if this.translator.cancels() {
            // The other side closes once it has passed the request on, and only then may what it is about be closed as well.
            // PgBouncer 1.18 ends as a whole when whoever asked does not wait for that.
            ready!(Pin::new(&mut this.io).poll_flush(cx))?;
            let mut nothing = [0; 16];
            let mut nothing = ReadBuf::new(&mut nothing);
            ready!(Pin::new(&mut this.io).poll_read(cx, &mut nothing))?;
        }
        Pin::new(&mut this.io).poll_shutdown(cx)
    }
}

/// How a running statement is cancelled: on a connection of its own, made as the first one was.
#[derive(Clone)]
pub(super) enum Canceller {
    /// To the server itself.
    Direct(MakeTls),
    /// To a pooler.
    Tcp(Through),
    /// To a pooler, over this socket.
    Unix(PathBuf, Through),
}

impl Canceller {
    /// Asks for it to be cancelled.
    pub(super) async fn cancel(self, token: &tokio_postgres::CancelToken) -> Result<(), BoxError> {
        match self {
            Self::Direct(tls) => Ok(token.cancel_query(tls).await?),
            Self::Tcp(tls) => Ok(token.cancel_query(tls).await?),
            Self::Unix(socket, mut tls) => {
                let stream = tokio::net::UnixStream::connect(socket).await?;
                let tls = MakeTlsConnect::<tokio::net::UnixStream>::make_tls_connect(&mut tls, "")?;
                Ok(token.cancel_query_raw(stream, tls).await?)
            }
        }
    }
}
