//! The load client: one thread, some connections, on each of them one call after the other.
//!
//! It is the same for every server, and as cheap as can be, as it shares its core with PostgreSQL. What it does not do: send at a
//! fixed rate. A server that stalls is asked less often meanwhile, so its worst latencies are understated, for all alike.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::Result;
use crate::http::answer_length;

/// How long nothing at all may come back before the measurement is given up.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is asked of whom.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) address: SocketAddr,
    pub(crate) connections: usize,
    /// Not counted.
    pub(crate) warm_up: Duration,
    pub(crate) measure: Duration,
}

/// What came back while it was measured.
#[derive(Debug)]
pub(crate) struct Measured {
    /// How long it was measured in fact.
    pub(crate) took: Duration,
    /// How long each call took, in microseconds, the shortest first.
    latencies_us: Vec<u32>,
}

impl Measured {
    pub(crate) fn calls(&self) -> usize {
        self.latencies_us.len()
    }

    /// Calls per second.
    pub(crate) fn rate(&self) -> f64 {
        self.calls() as f64 / self.took.as_secs_f64()
    }

    /// The latency, in milliseconds, that this share of the calls does not exceed.
    pub(crate) fn quantile_ms(&self, share: f64) -> f64 {
        let last = self.calls().saturating_sub(1);
        let us = self.latencies_us.get((last as f64 * share).round() as usize).copied().unwrap_or(0);
        f64::from(us) / 1000.0
    }
}

struct Connection {
    stream: TcpStream,
    sent_at: Instant,
    incoming: Vec<u8>,
}

/// Where the measurement stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    WarmUp,
    Measuring,
    /// Nothing more is sent; what is under way is awaited.
    Ending,
}

impl Load {
    /// Runs it. `request` writes the next request into a buffer; `edge` is called when the measurement begins and when it ends.
    pub(crate) fn run(
        &self,
        mut request: impl FnMut(&mut Vec<u8>),
        mut edge: impl FnMut() -> Result<()>,
    ) -> Result<Measured> {
        let mut poll = Poll::new()?;
        let mut events = Events::with_capacity(self.connections);
        let mut outgoing = Vec::with_capacity(1024);
        let mut connections = Vec::with_capacity(self.connections);
        for n in 0..self.connections {
            let mut connection = Connection::open(self.address)?;
            poll.registry().register(&mut connection.stream, Token(n), Interest::READABLE)?;
            request(&mut outgoing);
            connection.send(&outgoing)?;
            connections.push(connection);
        }
        let mut under_way = connections.len();
        let mut latencies_us = Vec::with_capacity(1 << 18);
        let (mut phase, mut began, mut took) = (Phase::WarmUp, Instant::now(), Duration::ZERO);
        while under_way > 0 {
            poll.poll(&mut events, Some(PATIENCE)).or_else(|why| match why.kind() {
                ErrorKind::Interrupted => Ok(()),
                _ => Err(why),
            })?;
            if events.is_empty() {
                return Err(format!("{} did not answer for {PATIENCE:?}", self.address).into());
            }
            for event in &events {
                let Some(connection) = connections.get_mut(event.token().0) else { continue };
                if !connection.receive()? {
                    continue;
                }
                let now = Instant::now();
                if phase == Phase::Measuring {
                    latencies_us.push(u32::try_from((now - connection.sent_at).as_micros()).unwrap_or(u32::MAX));
                }
                if phase == Phase::Ending {
                    under_way -= 1;
                } else {
                    request(&mut outgoing);
                    connection.send(&outgoing)?;
                }
            }
            match phase {
                Phase::WarmUp if began.elapsed() >= self.warm_up => {
                    edge()?;
                    (phase, began) = (Phase::Measuring, Instant::now());
                }
                Phase::Measuring if began.elapsed() >= self.measure => {
                    took = began.elapsed();
                    edge()?;
                    phase = Phase::Ending;
                }
                _ => {}
            }
        }
        latencies_us.sort_unstable();
        Ok(Measured { took, latencies_us })
    }
}

impl Connection {
    fn open(address: SocketAddr) -> Result<Self> {
        let stream = std::net::TcpStream::connect(address).map_err(|why| format!("cannot connect to {address}: {why}"))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self { stream: TcpStream::from_std(stream), sent_at: Instant::now(), incoming: Vec::with_capacity(4096) })
    }

    fn send(&mut self, request: &[u8]) -> Result<()> {
        self.incoming.clear();
        self.sent_at = Instant::now();
        // Nothing else is on its way, so a request of some hundred bytes always finds room.
        match self.stream.write(request)? {
            sent if sent == request.len() => Ok(()),
            sent => Err(format!("only {sent} of {} bytes of a request could be sent", request.len()).into()),
        }
    }

    /// Takes what has come in; true when the answer is complete.
    fn receive(&mut self) -> Result<bool> {
        let mut chunk = [0; 4096];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err("the server closed a connection in the middle of a call".into()),
                Ok(read) => self.incoming.extend_from_slice(&chunk[..read]),
                Err(why) if why.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(why) if why.kind() == ErrorKind::Interrupted => continue,
                Err(why) => return Err(why.into()),
            }
            if let Some(length) = answer_length(&self.incoming)? {
                // Nothing was asked that could be answered behind it.
                return if length == self.incoming.len() {
                    Ok(true)
                } else {
                    Err("an answer is longer than it says".into())
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_sorted_latencies() {
        let measured = Measured { took: Duration::from_secs(2), latencies_us: (1..=101).map(|ms| ms * 1000).collect() };
        assert_eq!(measured.quantile_ms(0.5), 51.0);
        assert_eq!(measured.quantile_ms(0.99), 100.0);
        assert_eq!(measured.rate(), 50.5);
        assert_eq!(Measured { took: Duration::from_secs(1), latencies_us: Vec::new() }.quantile_ms(0.5), 0.0);
    }

    #[test]
    fn every_answer_in_the_measured_time_is_counted() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        for _ in 0..2 {
            let listener = listener.try_clone().unwrap();
            std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let mut buffer = [0; 1024];
                while stream.read(&mut buffer).unwrap_or(0) > 0 {
                    // In two parts, as a network may deliver it.
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n").unwrap();
                    stream.write_all(b"\r\n{}").unwrap();
                }
            });
        }
        let load =
            Load { address, connections: 2, warm_up: Duration::from_millis(20), measure: Duration::from_millis(100) };
        let (mut asked, mut edges) = (0, 0);
        let request = |buffer: &mut Vec<u8>| {
            asked += 1;
            buffer.clear();
            buffer.extend_from_slice(b"hello");
        };
        let measured = load.run(request, || {
            edges += 1;
            Ok(())
        });
        let measured = measured.unwrap();
        assert_eq!(edges, 2);
        assert!(measured.calls() > 0 && measured.calls() < asked);
        assert!(measured.took >= Duration::from_millis(100));
    }
}
