//! A bare reader of the log: the replication protocol by hand, as much of it as reading messages needs.

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio_postgres::config::Host;

use crate::Result;

/// A connection that reads what is written to the log.
#[derive(Debug)]
pub(super) struct Reader {
    stream: UnixStream,
    incoming: Vec<u8>,
}

impl Reader {
    /// Connects, and begins to read at this moment, by a slot that ends with the connection.
    pub(super) fn open(url: &str) -> Result<Self> {
        let config: tokio_postgres::Config = url.parse()?;
        let (Some(Host::Unix(folder)), Some(port)) = (config.get_hosts().first(), config.get_ports().first()) else {
            return Err(format!("{url} is not the address of a socket").into());
        };
        let stream = UnixStream::connect(folder.join(format!(".s.PGSQL.{port}")))?;
        let mut reader = Self { stream, incoming: Vec::new() };
        let (user, name) = (config.get_user().unwrap_or("postgres"), config.get_dbname().unwrap_or("postgres"));
        let mut start = 196_608_i32.to_be_bytes().to_vec();
        for word in ["user", user, "database", name, "replication", "database", ""] {
            start.extend_from_slice(word.as_bytes());
            start.push(0);
        }
        reader.stream.write_all(&(u32::try_from(start.len())? + 4).to_be_bytes())?;
        reader.stream.write_all(&start)?;
        reader.until(b'Z')?;
        reader.ask("CREATE_REPLICATION_SLOT floor TEMPORARY LOGICAL pgoutput NOEXPORT_SNAPSHOT")?;
        reader.until(b'Z')?;
        reader.ask(
            "START_REPLICATION SLOT floor LOGICAL 0/0 (proto_version '1', publication_names 'floor', messages 'true')",
        )?;
        reader.until(b'W')?;
        Ok(reader)
    }

    /// Reads until it is told to stop. Returns each revision with when it was known.
    pub(super) fn read(mut self, stop: &AtomicBool) -> Result<Vec<(i64, Instant)>> {
        let mut known = Vec::new();
        self.stream.set_read_timeout(Some(Duration::from_millis(20)))?;
        while !stop.load(Ordering::Relaxed) {
            let Some((kind, body)) = self.next()? else { continue };
            match (kind, body.first()) {
                // Behind the head of 25 bytes is what the plug-in says; of that, only messages matter.
                (b'd', Some(b'w')) => known.extend(revision(&body[25..]).map(|revision| (revision, Instant::now()))),
                (b'd', Some(b'k')) if body.get(17) == Some(&1) => self.confirm(&body[1..9])?,
                (b'd', _) => {}
                _ => return Err(format!("the log ended: {}", String::from_utf8_lossy(&body)).into()),
            }
        }
        Ok(known)
    }

    fn ask(&mut self, command: &str) -> Result<()> {
        self.send(b'Q', &[command.as_bytes(), &[0]].concat())
    }

    /// Says that everything up to a place has been taken.
    fn confirm(&mut self, place: &[u8]) -> Result<()> {
        self.send(b'd', &[b"r", place, place, place, &[0; 9]].concat())
    }

    fn send(&mut self, kind: u8, body: &[u8]) -> Result<()> {
        let length = u32::try_from(body.len() + 4)?;
        Ok(self.stream.write_all(&[&[kind], &length.to_be_bytes()[..], body].concat())?)
    }

    /// Reads until a message of a kind has come.
    fn until(&mut self, wanted: u8) -> Result<()> {
        loop {
            match self.next()? {
                Some((kind, _)) if kind == wanted => return Ok(()),
                Some((b'E', body)) => return Err(format!("refused: {}", String::from_utf8_lossy(&body)).into()),
                Some((b'R', body)) if body != [0; 4] => return Err("it asks for a password".into()),
                _ => {}
            }
        }
    }

    /// The next message; None when there is none for a while.
    fn next(&mut self) -> Result<Option<(u8, Vec<u8>)>> {
        let mut chunk = [0; 16 * 1024];
        loop {
            if let Some(head) = self.incoming.first_chunk::<5>() {
                let end = 1 + usize::try_from(u32::from_be_bytes([head[1], head[2], head[3], head[4]]))?;
                let kind = head[0];
                if self.incoming.len() >= end {
                    let body = self.incoming[5..end].to_vec();
                    self.incoming.drain(..end);
                    return Ok(Some((kind, body)));
                }
            }
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err("the server closed the connection".into()),
                Ok(read) => self.incoming.extend_from_slice(&chunk[..read]),
                Err(why) if matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Ok(None),
                Err(why) if why.kind() == ErrorKind::Interrupted => {}
                Err(why) => return Err(why.into()),
            }
        }
    }
}

/// The revision in a message of the floor's trigger; None in anything else.
fn revision(said: &[u8]) -> Option<i64> {
    // `M`, flags, a place in the log, the prefix, and a length.
    let rest = said.strip_prefix(b"M")?.get(9..)?.strip_prefix(b"floor\0")?;
    std::str::from_utf8(rest.get(4..)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_messages_of_the_floor_have_a_revision() {
        let said = |prefix: &str| [b"M\x01\0\0\0\0\0\0\0\x07", prefix.as_bytes(), b"\0\0\0\0\x02", b"42"].concat();
        assert_eq!(revision(&said("floor")), Some(42));
        assert_eq!(revision(&said("forge")), None);
        assert_eq!(revision(b"B"), None);
    }
}
