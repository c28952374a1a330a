//! Many clients on one thread.

use std::io::{ErrorKind, Read as _, Write as _};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::Result;
use crate::live::socket::{self, Door, Kind};

/// Connections to one server.
#[derive(Debug)]
pub(crate) struct Fleet {
    poll: Poll,
    events: Events,
    sockets: Vec<Socket>,
    outgoing: Vec<u8>,
}

#[derive(Debug)]
struct Socket {
    stream: TcpStream,
    /// Of a frame that is not complete yet; without room of its own otherwise.
    incoming: Vec<u8>,
}

impl Fleet {
    pub(crate) fn open(door: Door, count: usize) -> Result<Self> {
        let mut fleet =
            Self { poll: Poll::new()?, events: Events::with_capacity(1024), sockets: Vec::new(), outgoing: Vec::new() };
        for n in 0..count {
            let (stream, incoming) = door.open()?;
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            fleet.poll.registry().register(&mut stream, Token(n), Interest::READABLE)?;
            fleet.sockets.push(Socket { stream, incoming });
        }
        Ok(fleet)
    }

    pub(crate) fn len(&self) -> usize {
        self.sockets.len()
    }

    /// Sends a text on one connection.
    pub(crate) fn send(&mut self, socket: usize, text: &str) -> Result<()> {
        self.outgoing.clear();
        socket::write_text(&mut self.outgoing, text.as_bytes());
        write(&mut self.sockets[socket].stream, &self.outgoing)
    }

    /// Sends a text of each connection's own on all of them.
    pub(crate) fn send_all(&mut self, text: impl Fn(usize) -> String) -> Result<()> {
        (0..self.len()).try_for_each(|n| self.send(n, &text(n)))
    }

    /// Takes what comes in until the handler has heard enough, or for this long. Returns whether it has. It is told the connection, the
    /// text, and when it came.
    pub(crate) fn hear(
        &mut self,
        lasting: Duration,
        mut heard: impl FnMut(usize, &[u8], Instant) -> Result<bool>,
    ) -> Result<bool> {
        let until = Instant::now() + lasting;
        let mut chunk = vec![0; 1 << 16];
        let mut enough = false;
        while !enough {
            let Some(left) = until.checked_duration_since(Instant::now()) else { break };
            self.poll.poll(&mut self.events, Some(left)).or_else(|why| match why.kind() {
                ErrorKind::Interrupted => Ok(()),
                _ => Err(why),
            })?;
            for event in &self.events {
                let n = event.token().0;
                let Some(socket) = self.sockets.get_mut(n) else { continue };
                socket.receive(&mut chunk, |text, at| {
                    enough |= heard(n, text, at)?;
                    Ok(())
                })?;
            }
        }
        Ok(enough)
    }
}

impl Socket {
    fn receive(&mut self, chunk: &mut [u8], mut heard: impl FnMut(&[u8], Instant) -> Result<()>) -> Result<()> {
        loop {
            let read = match self.stream.read(chunk) {
                Ok(0) => return Err("the server closed a connection".into()),
                Ok(read) => read,
                Err(why) if why.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(why) if why.kind() == ErrorKind::Interrupted => continue,
                Err(why) => return Err(why.into()),
            };
            let at = Instant::now();
            if self.incoming.is_empty() {
                let used = frames(&mut self.stream, &chunk[..read], at, &mut heard)?;
                self.incoming.extend_from_slice(&chunk[used..read]);
            } else {
                self.incoming.extend_from_slice(&chunk[..read]);
                let incoming = std::mem::take(&mut self.incoming);
                let used = frames(&mut self.stream, &incoming, at, &mut heard)?;
                self.incoming.extend_from_slice(&incoming[used..]);
            }
            // Less than there was room for: that is all, and a further read would only say so.
            if read < chunk.len() {
                return Ok(());
            }
        }
    }
}

/// Takes the complete frames of a buffer. Returns how long they are.
fn frames(
    stream: &mut TcpStream,
    buffer: &[u8],
    at: Instant,
    heard: &mut impl FnMut(&[u8], Instant) -> Result<()>,
) -> Result<usize> {
    let mut used = 0;
    while let Some((kind, payload)) = socket::frame(&buffer[used..]) {
        let text = &buffer[used + payload.start..used + payload.end];
        match kind {
            Kind::Text => heard(text, at)?,
            Kind::Ping => {
                let mut pong = Vec::new();
                socket::write_pong(&mut pong, text);
                write(stream, &pong)?;
            }
            Kind::Close => return Err(format!("the server ended a connection: {}", String::from_utf8_lossy(text)).into()),
            Kind::Other => {}
        }
        used += payload.end;
    }
    Ok(used)
}

fn write(stream: &mut TcpStream, bytes: &[u8]) -> Result<()> {
    // Clients say little, and what they said before has been taken: it always finds room.
    match stream.write(bytes)? {
        sent if sent == bytes.len() => Ok(()),
        sent => Err(format!("only {sent} of {} bytes of a message could be sent", bytes.len()).into()),
    }
}
