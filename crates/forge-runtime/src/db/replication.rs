//! A replication connection: the few messages that the driver does not know.
//!
//! ```text
//!  open (TLS and sign-in as every connection) ─▶ query: plain SQL and replication commands ─▶ start ─▶ next, confirm, next, ..
//! ```
//!
//! It is opened by the same [`Connector`] as all others, so address, TLS and credentials are the same. It has no use for channel binding, and
//! refuses an address that demands it.
//!
//! Not here: what is read from it (see [`crate::feed`]).

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{self, ScramSha256};
use postgres_protocol::message::frontend;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio_postgres::config::{ChannelBinding, Host};
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect as _};

use super::connect::Connector;
use crate::config::TlsMode;

/// The largest message that is accepted: what PostgreSQL itself allows.
const MESSAGE_MAX: usize = 1 << 30;

/// Why something could not be done on a replication connection. It is of no further use then, unless it was a query that was refused.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The server said no.
    Refused { code: String, message: String },
    /// The connection cannot be made, or has ended.
    Lost(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { code, message } => write!(f, "{message} ({code})"),
            Self::Lost(why) => f.write_str(why),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(why: std::io::Error) -> Self {
        Self::Lost(why.to_string())
    }
}

impl Failure {
    /// An error message of the server's: fields, each a letter and a text that ends with a zero.
    fn refused(body: &[u8]) -> Self {
        let (mut code, mut message) = (String::new(), String::new());
        for field in body.split(|byte| *byte == 0) {
            match field.split_first() {
                Some((b'C', text)) => code = String::from_utf8_lossy(text).into_owned(),
                Some((b'M', text)) => message = String::from_utf8_lossy(text).into_owned(),
                _ => {}
            }
        }
        Self::Refused { code, message }
    }
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// The connection.
pub(crate) struct Replication {
    io: Box<dyn Io>,
    received: BytesMut,
    unsent: BytesMut,
}

impl fmt::Debug for Replication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Replication")
    }
}

/// What the server tells once replication has started.
#[derive(Debug)]
pub(crate) enum Told {
    /// Something that was decoded.
    Data(Bytes),
    /// Everything before this position has been decoded and told.
    Position { position: u64, reply: bool },
}

/// One place where the server may be.
enum Place {
    Tcp { host: Option<String>, address: Option<IpAddr>, port: u16 },
    Unix(PathBuf),
}

impl Connector {
    /// Opens a replication connection, with settings of its session.
    ///
    /// # Errors
    /// Why none can be made: there is nobody, the server takes none of this user, or a pooler is on the way.
    pub(crate) async fn replication(&self, settings: &[(&str, &str)]) -> Result<Replication, Failure> {
        if self.config().get_channel_binding() == ChannelBinding::Require {
            return Err(Failure::Lost(
                "the database's address demands channel binding, which replication does not have".into(),
            ));
        }
        let mut failure = Failure::Lost("the database's address names no host".into());
        for place in self.places() {
            let opened = tokio::time::timeout(self.connect_timeout().saturating_mul(2), self.open(&place, settings)).await;
            match opened {
                Ok(Ok(replication)) => return Ok(replication),
                Ok(Err(why)) => failure = why,
                Err(_) => failure = Failure::Lost("connecting took too long".into()),
            }
        }
        Err(failure)
    }

    fn places(&self) -> Vec<Place> {
        let (config, ports) = (self.config(), self.config().get_ports());
        let port = |index: usize| ports.get(index).or(ports.first()).copied().unwrap_or(5432);
        let count = config.get_hosts().len().max(config.get_hostaddrs().len());
        let place = |index: usize| match config.get_hosts().get(index) {
            Some(Host::Unix(folder)) => Place::Unix(folder.join(format!(".s.PGSQL.{}", port(index)))),
            Some(Host::Tcp(name)) => Place::Tcp {
                host: Some(name.clone()),
                address: config.get_hostaddrs().get(index).copied(),
                port: port(index),
            },
            None => Place::Tcp { host: None, address: config.get_hostaddrs().get(index).copied(), port: port(index) },
        };
        (0..count).map(place).collect()
    }

    async fn open(&self, place: &Place, settings: &[(&str, &str)]) -> Result<Replication, Failure> {
        let io: Box<dyn Io> = match place {
            Place::Unix(path) => Box::new(UnixStream::connect(path).await?),
            Place::Tcp { host, address, port } => self.secured(host.as_deref(), *address, *port).await?,
        };
        let mut replication = Replication { io, received: BytesMut::new(), unsent: BytesMut::new() };
        replication.sign_in(self, settings).await?;
        Ok(replication)
    }

    /// A connection over TCP, encrypted as the configuration wants it.
    async fn secured(&self, host: Option<&str>, address: Option<IpAddr>, port: u16) -> Result<Box<dyn Io>, Failure> {
        let mut stream = match (address, host) {
            (Some(address), _) => TcpStream::connect((address, port)).await?,
            (None, Some(host)) => TcpStream::connect((host, port)).await?,
            (None, None) => return Err(Failure::Lost("the database's address names no host".into())),
        };
        stream.set_nodelay(true)?;
        let (mut tls, mode) = self.tls();
        if mode == TlsMode::Disable {
            return Ok(Box::new(stream));
        }
        let mut request = BytesMut::new();
        frontend::ssl_request(&mut request);
        stream.write_all(&request).await?;
        if stream.read_u8().await? != b'S' {
            return match mode {
                TlsMode::Prefer => Ok(Box::new(stream)),
                _ => Err(Failure::Lost("the server does not support TLS".into())),
            };
        }
        let name = host.map(str::to_owned).or(address.map(|address| address.to_string())).unwrap_or_default();
        let handshake = |why: Box<dyn std::error::Error + Send + Sync>| Failure::Lost(format!("TLS: {why}"));
        let connect = MakeTlsConnect::<TcpStream>::make_tls_connect(&mut tls, &name);
        let stream =
            connect.map_err(|why| handshake(why.into()))?.connect(stream).await.map_err(|why| handshake(why.into()))?;
        Ok(Box::new(stream))
    }
}

impl Replication {
    async fn sign_in(&mut self, connector: &Connector, settings: &[(&str, &str)]) -> Result<(), Failure> {
        let config = connector.config();
        let user = match config.get_user() {
            Some(user) => user.to_owned(),
            // As the driver does.
            None => whoami::username()
                .map_err(|why| Failure::Lost(format!("who runs this program cannot be found out: {why}")))?,
        };
        let settings: String = settings.iter().map(|(name, value)| format!(" -c {name}={value}")).collect();
        let options = format!("{}{settings}", config.get_options().unwrap_or_default());
        let mut parameters = vec![("client_encoding", "UTF8"), ("user", &*user), ("replication", "database")];
        parameters.push(("database", config.get_dbname().unwrap_or(&user)));
        parameters.push(("options", options.trim()));
        parameters.extend(config.get_application_name().map(|name| ("application_name", name)));
        frontend::startup_message(parameters, &mut self.unsent)?;
        self.flush().await?;
        let password = config.get_password();
        let needed =
            || password.ok_or_else(|| Failure::Lost("the server asks for a password, and the address has none".into()));
        let mut scram = None;
        loop {
            let (tag, mut body) = self.frame().await?;
            match tag {
                b'R' => {}
                b'E' => return Err(Failure::refused(&body)),
                b'Z' => return Ok(()),
                // Keys, parameters, notices.
                _ => continue,
            }
            match body.try_get_u32() {
                Ok(0) => {}
                Ok(3) => frontend::password_message(needed()?, &mut self.unsent)?,
                Ok(5) => {
                    let salt = body.get(..4).and_then(|salt| salt.try_into().ok()).ok_or_else(out_of_turn)?;
                    frontend::password_message(md5_hash(user.as_bytes(), needed()?, salt).as_bytes(), &mut self.unsent)?;
                }
                Ok(10) if body.split(|byte| *byte == 0).any(|name| name == sasl::SCRAM_SHA_256.as_bytes()) => {
                    let began = scram.insert(ScramSha256::new(needed()?, sasl::ChannelBinding::unsupported()));
                    frontend::sasl_initial_response(sasl::SCRAM_SHA_256, began.message(), &mut self.unsent)?;
                }
                Ok(11) => {
                    let scram = scram.as_mut().ok_or_else(out_of_turn)?;
                    scram.update(&body)?;
                    frontend::sasl_response(scram.message(), &mut self.unsent)?;
                }
                // The server proves that it knows the password as well.
                Ok(12) => scram.as_mut().ok_or_else(out_of_turn)?.finish(&body)?,
                _ => return Err(Failure::Lost("the server asks for a way to sign in that is not known here".into())),
            }
            self.flush().await?;
        }
    }

    /// Runs plain SQL or a replication command, and collects the rows.
    ///
    /// # Errors
    /// When it is refused, after which the connection can be used further, or the connection ends.
    pub(crate) async fn query(&mut self, text: &str) -> Result<Vec<Vec<Option<String>>>, Failure> {
        frontend::query(text, &mut self.unsent)?;
        self.flush().await?;
        let (mut rows, mut refused) = (Vec::new(), None);
        loop {
            let (tag, body) = self.frame().await?;
            match tag {
                b'D' => rows.push(row(body).ok_or_else(out_of_turn)?),
                b'E' => refused = Some(Failure::refused(&body)),
                b'Z' => return refused.map_or(Ok(rows), Err),
                _ => {}
            }
        }
    }

    /// Sends the command that starts replication.
    ///
    /// # Errors
    /// When it is refused.
    pub(crate) async fn start(&mut self, command: &str) -> Result<(), Failure> {
        frontend::query(command, &mut self.unsent)?;
        self.flush().await?;
        loop {
            let (tag, body) = self.frame().await?;
            match tag {
                b'W' => return Ok(()),
                b'N' | b'S' => {}
                b'E' => return Err(Failure::refused(&body)),
                _ => return Err(out_of_turn()),
            }
        }
    }

    /// Whether what the server tells next is here already.
    pub(crate) fn has_next(&self) -> bool {
        matches!(self.received[..], [_, a, b, c, d, ..] if self.received.len() > u32::from_be_bytes([a, b, c, d]) as usize)
    }

    /// What the server tells next. May be dropped and called again: nothing is lost.
    ///
    /// # Errors
    /// When replication has ended.
    pub(crate) async fn next(&mut self) -> Result<Told, Failure> {
        loop {
            let (tag, mut body) = self.frame().await?;
            match tag {
                b'd' => {}
                b'E' => return Err(Failure::refused(&body)),
                b'N' | b'S' => continue,
                _ => return Err(Failure::Lost("the server has ended replication".into())),
            }
            match body.try_get_u8() {
                // Where the data begins, where the log ends, when it was sent.
                Ok(b'w') if body.len() >= 24 => {
                    body.advance(24);
                    return Ok(Told::Data(body));
                }
                Ok(b'k') if body.len() >= 17 => {
                    let position = body.get_u64();
                    body.advance(8);
                    return Ok(Told::Position { position, reply: body.get_u8() != 0 });
                }
                _ => return Err(out_of_turn()),
            }
        }
    }

    /// Tells the server that everything before a position has been received, and is not needed any more. It may be asked to tell its own in return.
    ///
    /// # Errors
    /// When the connection has ended.
    pub(crate) async fn confirm(&mut self, position: u64, reply: bool) -> Result<(), Failure> {
        self.unsent.put_u8(b'd');
        // The length counts itself: 4 + 1 + three positions, a time, a switch.
        self.unsent.put_i32(4 + 1 + 4 * 8 + 1);
        self.unsent.put_u8(b'r');
        for _written_flushed_applied in 0..3 {
            self.unsent.put_u64(position);
        }
        // The time of this message, which only pg_stat_replication shows.
        self.unsent.put_i64(0);
        self.unsent.put_u8(u8::from(reply));
        self.flush().await
    }

    /// Sends what waits. Dropped in between, the next call goes on where it stopped.
    async fn flush(&mut self) -> Result<(), Failure> {
        while !self.unsent.is_empty() {
            let sent = self.io.write(&self.unsent).await?;
            if sent == 0 {
                return Err(Failure::Lost("the connection is closed".into()));
            }
            self.unsent.advance(sent);
        }
        Ok(self.io.flush().await?)
    }

    /// The next message: its type, and its content.
    async fn frame(&mut self) -> Result<(u8, Bytes), Failure> {
        loop {
            if let [tag, a, b, c, d, ..] = self.received[..] {
                let length = u32::from_be_bytes([a, b, c, d]) as usize;
                if !(4..=MESSAGE_MAX).contains(&length) {
                    return Err(out_of_turn());
                }
                if self.received.len() > length {
                    let mut whole = self.received.split_to(1 + length);
                    whole.advance(5);
                    return Ok((tag, whole.freeze()));
                }
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> Result<(), Failure> {
        self.received.reserve(16 * 1024);
        match self.io.read_buf(&mut self.received).await? {
            0 => Err(Failure::Lost("the connection was closed".into())),
            _ => Ok(()),
        }
    }
}

fn out_of_turn() -> Failure {
    Failure::Lost("the server sent something that is not understood".into())
}

/// The values of a row.
fn row(mut body: Bytes) -> Option<Vec<Option<String>>> {
    let count = body.try_get_u16().ok()?;
    let mut value = || match body.try_get_i32().ok()? {
        -1 => Some(None),
        length => {
            let length = usize::try_from(length).ok().filter(|length| *length <= body.len())?;
            Some(Some(String::from_utf8_lossy(&body.split_to(length)).into_owned()))
        }
    };
    (0..count).map(|_| value()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_says_is_taken_apart() {
        let row_of = |bytes: &'static [u8]| row(Bytes::from_static(bytes));
        assert_eq!(row_of(b"\0\x02\0\0\0\x01a\xff\xff\xff\xff"), Some(vec![Some("a".into()), None]));
        assert_eq!(row_of(b"\0\x01\0\0\0\x02a"), None, "cut off");
        let failure = Failure::refused(b"SERROR\0C53400\0Mall slots are in use\0\0");
        assert_eq!(failure.to_string(), "all slots are in use (53400)");
    }
}
