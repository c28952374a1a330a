//! Accepts connections, within limits, and ends them in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use forge_core::{Error, Result};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::edge::Edge;
use crate::app::{NodeParts, Stage};
use crate::observability;

/// The most bytes that the head of a request may have.
const HEAD_BYTES_MAX: usize = 32 * 1024;

/// How long a connection may take from its acceptance to its first request if the node stops meanwhile.
const FIRST_REQUEST: Duration = Duration::from_secs(2);

/// The HTTP server of a node.
#[derive(Debug)]
pub struct GatewayServer {
    listener: TcpListener,
    /// Whether another process may be serving on the same socket.
    inherited: bool,
    stage: watch::Receiver<Stage>,
    address: SocketAddr,
    edge: Arc<Edge>,
    header_timeout: Duration,
    connections: Arc<Semaphore>,
}

impl GatewayServer {
    /// Listens on the socket that was handed over, else on `gateway.host` and `gateway.port`.
    ///
    /// # Errors
    /// `PORT_IN_USE` when another program listens there, `LISTEN_FAILED` when the address cannot be had for another reason.
    pub(crate) async fn bind(parts: NodeParts) -> Result<Self> {
        let config = &parts.config.gateway;
        let (host, port) = (config.host.clone(), config.port);
        if let Some(inherited) = crate::app::inherited_listener()? {
            return Self::on(TcpListener::from_std(inherited)?, true, parts);
        }
        let listener = TcpListener::bind((host.as_str(), port)).await.map_err(|why| {
            if why.kind() == std::io::ErrorKind::AddrInUse {
                let text = format!("another program listens on {host}:{port}; stop it, or set gateway.port (FORGE_PORT)");
                return Error::config("PORT_IN_USE", text).with_source(why);
            }
            let text = format!(
                "cannot listen on {host}:{port}: {why}; set gateway.host and gateway.port to an address of this machine"
            );
            Error::config("LISTEN_FAILED", text).with_source(why)
        })?;
        Self::on(listener, false, parts)
    }

    fn on(listener: TcpListener, inherited: bool, parts: NodeParts) -> Result<Self> {
        let config = &parts.config.gateway;
        let address = listener.local_addr()?;
        Ok(Self {
            listener,
            inherited,
            stage: parts.stage.clone(),
            address,
            header_timeout: config.header_timeout,
            connections: Arc::new(Semaphore::new(config.max_connections as usize)),
            edge: Arc::new(Edge::new(parts)?),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until told to stop; then accepts nothing more and finishes what is under way, for at most `drain`.
    pub(crate) async fn serve(mut self, stop: CancellationToken, drain: Duration) {
        let open = TaskTracker::new();
        open.spawn(self.edge.live().run(stop.clone()));
        if !self.inherited || its_turn(&mut self.stage, &stop).await {
            self.accept(&open, &stop).await;
        }
        drop(self.listener);
        open.close();
        if tokio::time::timeout(drain, open.wait()).await.is_err() {
            tracing::warn!(
                connections = open.len(),
                "some requests were not finished within shutdown.request_drain_timeout"
            );
        }
    }

    /// Accepts connections until told to stop.
    async fn accept(&self, open: &TaskTracker, stop: &CancellationToken) {
        loop {
            let room = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                // Connections beyond the limit wait in the system's queue. The semaphore is never closed.
                room = self.connections.clone().acquire_owned() => room,
            };
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                accepted = self.listener.accept() => accepted,
            };
            match (accepted, room) {
                (Ok((stream, peer)), Ok(room)) => {
                    open.spawn(self.connection(stream, peer, room, stop.clone()));
                }
                (Err(why), _) => {
                    // No file descriptors left, or the peer is gone already. Trying again at once would spin.
                    tracing::warn!(error = %why, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                (_, Err(_)) => break,
            }
        }
    }

    fn connection(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        room: OwnedSemaphorePermit,
        stop: CancellationToken,
    ) -> impl Future<Output = ()> + 'static {
        let (edge, header_timeout, accepted) = (self.edge.clone(), self.header_timeout, Instant::now());
        async move {
            let _room = room;
            if let Err(why) = stream.set_nodelay(true) {
                tracing::debug!(error = %why, "a connection stays without TCP_NODELAY");
            }
            let connections = &observability::http().connections;
            connections.inc();
            let asked = Arc::new(tokio::sync::Notify::new());
            let asking = asked.clone();
            let service = service_fn(move |request| {
                asking.notify_one();
                let edge = edge.clone();
                async move { Ok::<_, std::convert::Infallible>(edge.handle(peer, request).await) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(header_timeout)
                .max_buf_size(HEAD_BYTES_MAX)
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades();
            tokio::pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = stop.cancelled() => {
                    // A connection that was accepted a moment ago may be about to bring its first request.
                    let ended = tokio::select! {
                        biased;
                        ended = connection.as_mut() => Some(ended),
                        () = asked.notified() => None,
                        () = tokio::time::sleep_until(accepted + FIRST_REQUEST) => None,
                    };
                    match ended {
                        Some(ended) => ended,
                        None => {
                            connection.as_mut().graceful_shutdown();
                            connection.await
                        }
                    }
                }
            };
            if let Err(why) = ended {
                // The client went away, sent something that is not HTTP, or was too slow: its own affair.
                tracing::debug!(%peer, error = %why, "a connection ended early");
            }
            connections.dec();
        }
    }
}

/// Waits until this process is to accept from a socket that others serve as well: as soon as it is ready. Never when it is told to
/// stop before, or could not start: what it accepted then, it could only drop.
async fn its_turn(stage: &mut watch::Receiver<Stage>, stop: &CancellationToken) -> bool {
    tokio::select! {
        biased;
        () = stop.cancelled() => false,
        ready = stage.wait_for(|stage| *stage == Stage::Ready) => ready.is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_of_several_processes_is_left_to_the_others_by_one_that_does_not_start() {
        let stop = CancellationToken::new();
        let (tell, mut stage) = watch::channel(Stage::Starting);
        let ready = tokio::join!(its_turn(&mut stage, &stop), async { tell.send_replace(Stage::Ready) }).0;
        assert!(ready);

        let (tell, mut stage) = watch::channel(Stage::Starting);
        let failed = tokio::join!(its_turn(&mut stage, &stop), async move { drop(tell) }).0;
        assert!(!failed);

        let (_tell, mut stage) = watch::channel(Stage::Ready);
        stop.cancel();
        assert!(!its_turn(&mut stage, &stop).await);
    }
}
