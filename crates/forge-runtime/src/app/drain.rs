//! The end of a node: told to stop, it finishes what it has begun, within limits.
//!
//! Whoever tells it is a signal (SIGTERM, SIGINT), or somebody from outside (`forge cluster drain`, of which the heart hears).
//!
//! Order: not ready any more (`shutdown.unready_for`), no new connections, requests under way are finished (`shutdown.request_drain_timeout`), then
//! background loops stop, and the process ends. A second signal, or `shutdown.force_after`, ends it at once. To a node that drains as it was asked
//! from outside, the first signal says nothing new.

use forge_core::{Error, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Node;

/// Runs until SIGTERM or SIGINT, or until the node fails, then drains.
pub(super) async fn until_told(mut node: Node) -> Result<()> {
    let listen = |kind| signal(kind).map_err(|why| Error::internal("signals cannot be received").with_source(why));
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    let asked = node.asked_to_drain();
    let asked = tokio::select! {
        result = node.failed() => return result,
        () = told(&mut terminate, &mut interrupt) => false,
        () = asked => true,
    };
    let force_after = node.config().force_after();
    tracing::info!("stopping: finishing what is under way; a second signal ends it at once");
    let told_again = async {
        if asked {
            // Whoever has it drained may well tell its process to stop as well.
            told(&mut terminate, &mut interrupt).await;
            tracing::info!("told to stop, and stopping already; another signal ends it at once");
        }
        told(&mut terminate, &mut interrupt).await;
    };
    tokio::select! {
        () = node.stop() => tracing::info!("stopped"),
        () = told_again => tracing::warn!("stopped at once"),
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
