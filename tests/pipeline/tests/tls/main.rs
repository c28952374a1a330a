//! TLS to the database: encrypted means the server is the right one, unless less was asked for.

#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

// A crate that nothing names is not linked, and would bring no functions.
use pipeline as _;

mod feed;
mod server;

use std::time::{Duration, Instant};

use forge_runtime::config::TlsMode;
use server::{Authority, Server};

#[tokio::test]
async fn the_server_is_verified() {
    let (ours, strangers) = (Authority::new(), Authority::new());
    let Some(server) = Server::start(&ours) else {
        println!("this PostgreSQL was built without TLS; there is nothing to verify");
        return;
    };
    let ours = ours.file(server.file("ours.pem"));
    let strangers = strangers.file(server.file("strangers.pem"));

    server.is_up().await;
    assert!(server.reachable("localhost", TlsMode::VerifyFull, Some(&ours)).await, "the right server");
    assert!(!server.reachable("localhost", TlsMode::VerifyFull, Some(&strangers)).await, "signed by somebody else");
    assert!(!server.reachable("localhost", TlsMode::VerifyFull, None).await, "signed by nobody the system knows");
    assert!(!server.reachable("127.0.0.1", TlsMode::VerifyFull, Some(&ours)).await, "another name");
    assert!(server.reachable("127.0.0.1", TlsMode::Require, None).await, "encrypted, whoever it is");

    // With plain connections refused, the one that gets in is encrypted.
    server.lets_in("hostssl all all 127.0.0.1/32 trust\n");
    let deadline = Instant::now() + Duration::from_secs(30);
    while server.reachable("127.0.0.1", TlsMode::Disable, None).await {
        assert!(Instant::now() < deadline, "the server goes on taking plain connections");
    }
    assert!(server.reachable("localhost", TlsMode::VerifyFull, Some(&ours)).await);
}
