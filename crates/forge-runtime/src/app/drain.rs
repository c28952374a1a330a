//! The end of a node: told to stop, it finishes what it has begun, within limits.
//!
//! Order: not ready any more (`shutdown.unready_for`), no new connections, requests under way are finished (`shutdown.request_drain_timeout`), then
//! background loops stop, and the process ends. A second signal, or `shutdown.force_after`, ends it at once.

use forge_core::{Error, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Node;

/// Runs until SIGTERM or SIGINT, or until the node fails, then drains.
pub(super) async fn until_told(mut node: Node) -> Result<()> {
    let listen = |kind| signal(kind).map_err(|why| Error::internal("signals cannot be received").with_source(why));
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    tokio::select! {
        result = node.failed() => return result,
        () = told(&mut terminate, &mut interrupt) => {}
    }
    let force_after = node.config().force_after();
    tracing::info!("stopping: finishing what is under way; a second signal ends it at once");
    tokio::select! {
        () = node.stop() => tracing::info!("stopped"),
        () = told(&mut terminate, &mut interrupt) => tracing::warn!("stopped at once"),
        () = tokio::time::sleep(force_after) => tracing::warn!("stopped by force: draining took longer than shutdown.force_after"),
    }
    Ok(())
}

async fn told(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
