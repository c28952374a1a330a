//! A plain TCP balancer before some nodes: each connection goes to the next one that takes it. It can cut connections after so many bytes,
//! wherever in a message that is.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::RngExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A balancer. It ends with the test's runtime.
pub(crate) struct Balancer {
    url: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    nodes: Mutex<Vec<SocketAddr>>,
    turn: AtomicUsize,
    /// How many bytes a node may say on a connection before it is cut.
    budget: Mutex<Option<Range<usize>>>,
    cuts: AtomicUsize,
}

impl Balancer {
    /// Puts a balancer before nodes.
    pub(crate) async fn before(nodes: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state =
            Arc::new(State { nodes: Mutex::new(nodes.iter().map(|url| address(url)).collect()), ..State::default() });
        let accepting = state.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, accepting.clone()));
            }
        });
        Self { url, state }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Where a node is from now on.
    pub(crate) fn replace(&self, n: usize, url: &str) {
        self.state.nodes.lock().unwrap()[n] = address(url);
    }

    /// New connections are cut after a number of bytes from this range; or no more.
    pub(crate) fn cut_after(&self, budget: Option<Range<usize>>) {
        *self.state.budget.lock().unwrap() = budget;
    }

    /// How many connections it has cut.
    pub(crate) fn cuts(&self) -> usize {
        self.state.cuts.load(Ordering::Relaxed)
    }
}

fn address(url: &str) -> SocketAddr {
    url.strip_prefix("http://").unwrap().parse().unwrap()
}

async fn serve(client: TcpStream, state: Arc<State>) {
    let nodes = state.nodes.lock().unwrap().clone();
    let turn = state.turn.fetch_add(1, Ordering::Relaxed);
    let budget = state.budget.lock().unwrap().clone().map(|range| rand::rng().random_range(range));
    for n in 0..nodes.len() {
        if let Ok(node) = TcpStream::connect(nodes[(turn + n) % nodes.len()]).await {
            return pass(client, node, budget, &state).await;
        }
    }
}

/// Passes everything on, until either side ends or the budget is used up.
async fn pass(client: TcpStream, node: TcpStream, budget: Option<usize>, state: &State) {
    client.set_nodelay(true).unwrap();
    node.set_nodelay(true).unwrap();
    let ((mut from_client, mut to_client), (mut from_node, mut to_node)) = (client.into_split(), node.into_split());
    let asking = async { drop(tokio::io::copy(&mut from_client, &mut to_node).await) };
    let answering = async {
        let (mut left, mut chunk) = (budget.unwrap_or(usize::MAX), [0; 4096]);
        while left > 0 {
            let Ok(read @ 1..) = from_node.read(&mut chunk).await else { return false };
            let passed = read.min(left);
            left -= passed;
            if to_client.write_all(&chunk[..passed]).await.is_err() {
                return false;
            }
        }
        true
    };
    let cut = tokio::select! {
        () = asking => false,
        cut = answering => cut,
    };
    if cut {
        state.cuts.fetch_add(1, Ordering::Relaxed);
        // Both get a reset instead of an end.
        for half in [to_client.as_ref(), to_node.as_ref()] {
            // It may have ended by itself in this moment.
            let _ = rustix::net::sockopt::set_socket_linger(half, Some(Duration::ZERO));
        }
    }
}
