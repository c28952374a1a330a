//! The address of a database: read, judged, and shown without its password.

use tokio_postgres::config::Host;

use forge_core::{Error, Result};

use super::database::DatabaseConfig;
use super::kind::{Choice, Kind, parsed};
use super::{Secret, is_loopback};

/// Whether a connection is encrypted and the server checked. See `database.tls`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TlsMode {
    /// Never encrypted.
    Disable,
    /// Encrypted if the server can; the server is not checked.
    Prefer,
    /// Encrypted; the server is not checked.
    Require,
    /// Encrypted; the server's certificate and name are checked.
    VerifyFull,
}

impl Choice for TlsMode {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("disable", Self::Disable),
        ("prefer", Self::Prefer),
        ("require", Self::Require),
        ("verify-full", Self::VerifyFull),
    ];
}

/// An address, ready to connect to.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// The driver's configuration. Its own `ssl_mode` means nothing: [`tls`](Self::tls) does.
    pub pg: tokio_postgres::Config,
    /// What holds for this address: `database.tls`, else its `sslmode`, else by [`local`](Self::local).
    pub tls: TlsMode,
    /// Whether every host of it is a socket or a loopback address.
    pub local: bool,
}

impl DatabaseConfig {
    /// Reads one of the addresses of this section.
    ///
    /// # Errors
    /// `CONFIG_INVALID_VALUE` when it is not an address. [`Config::load`](super::Config::load) has checked those it read.
    pub fn endpoint(&self, url: &Secret) -> Result<Endpoint> {
        let address = Address::parse(url.expose())
            .map_err(|problem| Error::config("CONFIG_INVALID_VALUE", format!("the database's address {problem}")))?;
        let by_place = if address.local { TlsMode::Disable } else { TlsMode::VerifyFull };
        let tls = self.tls.or(address.sslmode).unwrap_or(by_place);
        Ok(Endpoint { pg: address.pg, tls, local: address.local })
    }
}

/// The kind of keys that hold an address.
pub(super) fn database_url() -> impl Kind<Secret> {
    parsed(
        "the address of a PostgreSQL database",
        |text| Address::parse(text).map(|_| Secret::new(text)),
        |url: &Secret| Address::parse(url.expose()).map_or_else(|_| url.to_string(), |address| address.shown()),
    )
}

struct Address {
    pg: tokio_postgres::Config,
    sslmode: Option<TlsMode>,
    local: bool,
}

impl Address {
    /// Reads an address; the problem continues a sentence and shows nothing of it.
    fn parse(text: &str) -> Result<Self, String> {
        // The driver knows only some of libpq's `sslmode`s and cannot say whether one was given, so it is taken out.
        let (rest, sslmode) = if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            split_url(text)
        } else {
            split_words(text)?
        };
        let sslmode = match sslmode.as_deref() {
            None => None,
            Some("verify-ca") => {
                return Err("has `sslmode=verify-ca`, which is not supported; \
                            `verify-full` also checks the host's name, `require` checks nothing"
                    .into());
            }
            Some("allow") => return Err("has `sslmode=allow`, which is not supported; use `prefer` or `disable`".into()),
            Some(word) => match TlsMode::WORDS.iter().find(|(w, _)| *w == word) {
                Some((_, mode)) => Some(*mode),
                None => return Err("has an `sslmode` that is none of disable, prefer, require, verify-full".into()),
            },
        };
        let pg: tokio_postgres::Config = rest.parse().map_err(|error: tokio_postgres::Error| {
            let cause = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            format!(
                "cannot be read: {cause}; write it like postgres://user:password@host:5432/name, \
                 with special characters of the password as %XX"
            )
        })?;
        if pg.get_hosts().iter().any(|host| matches!(host, Host::Tcp(name) if name.contains('@'))) {
            return Err("has an `@` in its host: special characters of a password are written as %XX, `@` as %40".into());
        }
        if pg.get_hosts().is_empty() && pg.get_hostaddrs().is_empty() {
            return Err("names no host; for a local socket add ?host=/var/run/postgresql".into());
        }
        // Where both are given, the driver connects to the address and uses the name for checking only.
        let local = if pg.get_hostaddrs().is_empty() {
            pg.get_hosts().iter().all(is_local)
        } else {
            pg.get_hostaddrs().iter().all(|address| address.is_loopback())
        };
        Ok(Self { pg, sslmode, local })
    }

    /// `postgres://user@host:port/name`: what identifies it, and nothing that opens it.
    fn shown(&self) -> String {
        let ports = self.pg.get_ports();
        let port = |index: usize| ports.get(index).or(ports.first()).copied().unwrap_or(5432);
        let names: Vec<String> = if self.pg.get_hosts().is_empty() {
            self.pg.get_hostaddrs().iter().map(ToString::to_string).collect()
        } else {
            self.pg.get_hosts().iter().map(host_name).collect()
        };
        let hosts: Vec<_> = names.iter().enumerate().map(|(index, name)| format!("{name}:{}", port(index))).collect();
        let user = self.pg.get_user().map(|user| format!("{user}@")).unwrap_or_default();
        let password = if self.pg.get_password().is_some() { " (with a password)" } else { "" };
        format!("postgres://{user}{}/{}{password}", hosts.join(","), self.pg.get_dbname().unwrap_or(""))
    }
}

fn is_local(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => is_loopback(name),
        #[allow(unreachable_patterns)] // There are no sockets in the file system on every platform.
        _ => true,
    }
}

fn host_name(host: &Host) -> String {
    match host {
        Host::Tcp(name) => name.clone(),
        #[cfg(unix)]
        Host::Unix(path) => path.display().to_string(),
    }
}

/// A URL without its `sslmode`, and that.
fn split_url(url: &str) -> (String, Option<String>) {
    let Some((base, query)) = url.split_once('?') else {
        return (url.into(), None);
    };
    let (mut kept, mut sslmode) = (Vec::new(), None);
    for pair in query.split('&') {
        match pair.strip_prefix("sslmode=") {
            Some(mode) => sslmode = Some(mode.to_owned()),
            None => kept.push(pair),
        }
    }
    let rest = if kept.is_empty() { base.into() } else { format!("{base}?{}", kept.join("&")) };
    (rest, sslmode)
}

/// `key=value` words without `sslmode`, and that. A value may be quoted with `'`, and `\` takes the next character as
/// it is.
fn split_words(text: &str) -> Result<(String, Option<String>), String> {
    let malformed = || "is neither a postgres:// URL nor a list of key=value words".to_owned();
    let (mut kept, mut sslmode, mut rest) = (String::new(), None, text.trim_start());
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=').ok_or_else(malformed)?;
        if key.trim().is_empty() || key.trim().contains(char::is_whitespace) {
            return Err(malformed());
        }
        let after = after.trim_start();
        let (mut quoted, mut escaped, mut end) = (false, false, after.len());
        for (at, c) in after.char_indices() {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '\'' => quoted = !quoted,
                c if c.is_whitespace() && !quoted => {
                    end = at;
                    break;
                }
                _ => {}
            }
        }
        let (value, after) = after.split_at(end);
        if key.trim() == "sslmode" {
            sslmode = Some(value.trim_matches('\'').to_owned());
        } else {
            kept.push_str(&format!("{}={value} ", key.trim()));
        }
        rest = after.trim_start();
    }
    Ok((kept, sslmode))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, tls: TlsMode, local: bool, shown: &str) {
        let endpoint = DatabaseConfig::default().endpoint(&url.into()).unwrap();
        assert_eq!((endpoint.tls, endpoint.local), (tls, local), "{url}");
        assert_eq!(database_url().show(&url.into()), format!("\"{shown}\""), "{url}");
    }

    #[test]
    fn an_address_says_how_it_is_reached() {
        check(
            "postgres://ada:s3cret@db.example/app",
            TlsMode::VerifyFull,
            false,
            "postgres://ada@db.example:5432/app (with a password)",
        );
        check("postgresql://localhost:5433/app", TlsMode::Disable, true, "postgres://localhost:5433/app");
        check("postgres://ada@[::1]/app?sslmode=require", TlsMode::Require, true, "postgres://ada@::1:5432/app");
        check("postgres:///app?host=/run/pg&sslmode=verify-full", TlsMode::VerifyFull, true, "postgres:///run/pg:5432/app");
        check(
            "host=/run/pg user=ada dbname=app password='a b\\' c'",
            TlsMode::Disable,
            true,
            "postgres://ada@/run/pg:5432/app (with a password)",
        );
        check("host=a,b port=1,2 dbname=app sslmode = 'prefer'", TlsMode::Prefer, false, "postgres://a:1,b:2/app");
        check(
            "postgres://127.0.0.1,db.example/app",
            TlsMode::VerifyFull,
            false,
            "postgres://127.0.0.1:5432,db.example:5432/app",
        );
        check("host=db.example hostaddr=127.0.0.1 dbname=app", TlsMode::Disable, true, "postgres://db.example:5432/app");
    }

    #[test]
    fn what_is_said_in_the_section_wins() {
        let section = DatabaseConfig { tls: Some(TlsMode::Disable), ..DatabaseConfig::default() };
        assert_eq!(section.endpoint(&"postgres://db.example/app?sslmode=require".into()).unwrap().tls, TlsMode::Disable);
    }

    #[test]
    fn a_bad_address_is_refused_without_showing_it() {
        for url in [
            "",
            "mysql://ada:s3cret@db/app",
            "postgres://ada:s3cret@x@db/app",
            "postgres:///app",
            "postgres://ada:s3cret@db:port/app",
            "postgres://ada:s3cret@db/app?sslmode=verify-ca",
            "postgres://ada:s3cret@db/app?sslmode=maybe",
            "postgres://ada:s3cret@db/app?sslrootcert=x",
            "s3cret",
        ] {
            let error = DatabaseConfig::default().endpoint(&url.into()).unwrap_err();
            assert_eq!(error.code(), "CONFIG_INVALID_VALUE");
            assert!(!error.message().contains("s3cret"), "{}", error.message());
        }
    }
}
