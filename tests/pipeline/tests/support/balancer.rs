//! A plain TCP balancer: each connection goes to the next node, whatever it brings.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::{TcpListener, TcpStream};

/// A balancer on a port of its own.
pub(crate) struct Balancer {
    url: String,
    accepting: tokio::task::JoinHandle<()>,
    passed: Arc<Vec<AtomicUsize>>,
}

impl Balancer {
    /// Puts a balancer before these nodes.
    pub(crate) async fn before(nodes: &[&str]) -> Self {
        let nodes: Vec<String> = nodes.iter().map(|url| url.trim_start_matches("http://").to_owned()).collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let passed: Arc<Vec<AtomicUsize>> = Arc::new(nodes.iter().map(|_| AtomicUsize::new(0)).collect());
        let counting = passed.clone();
        let accepting = tokio::spawn(async move {
            let mut turn = 0;
            while let Ok((mut client, _)) = listener.accept().await {
                let node = nodes[turn % nodes.len()].clone();
                counting[turn % nodes.len()].fetch_add(1, Ordering::Relaxed);
                turn += 1;
                tokio::spawn(async move {
                    if let Ok(mut server) = TcpStream::connect(&node).await {
                        // Ends when either side does, which is their affair.
                        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
        });
        Self { url, accepting, passed }
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// How many connections each node got.
    pub(crate) fn passed(&self) -> Vec<usize> {
        self.passed.iter().map(|count| count.load(Ordering::Relaxed)).collect()
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
