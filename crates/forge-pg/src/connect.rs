//! Connecting, and the small print of connection addresses.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use forge_core::{Error, Result};
use tokio_postgres::{Client, Config, NoTls};

use crate::failure;

/// A server on this machine answers at once or not at all; one elsewhere has this long.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// Opens a connection that lives as long as the client. TLS is not spoken here: this is for the private server,
/// and for test servers on this machine or a trusted network.
pub(crate) async fn connect(url: &str) -> Result<Client> {
    let config = parse(url)?;
    let attempt = tokio::time::timeout(CONNECT_DEADLINE, config.connect(NoTls)).await;
    let reason = match attempt {
        Ok(Ok((client, connection))) => {
            // Whatever ends the connection is reported to whoever uses the client.
            tokio::spawn(async move { drop(connection.await) });
            return Ok(client);
        }
        Ok(Err(error)) => error,
        Err(_) => {
            let message = format!("{} did not answer within {} s", place(&config), CONNECT_DEADLINE.as_secs());
            return Err(Error::config(failure::CONNECT_FAILED, message));
        }
    };
    let words = match reason.as_db_error() {
        Some(db) => format!("{} (SQLSTATE {})", db.message(), db.code().code()),
        None => std::error::Error::source(&reason).map_or_else(|| reason.to_string(), ToString::to_string),
    };
    let message = format!(
        "could not connect to {}: {words}. Check that the server runs and that its address is right.",
        place(&config)
    );
    Err(Error::config(failure::CONNECT_FAILED, message).with_source(reason))
}

/// Whether a connection failed because a server that is well said no.
pub(crate) fn was_refused_in_words(error: &Error) -> bool {
    let cause = error.source().and_then(|source| source.downcast_ref::<tokio_postgres::Error>());
    cause.is_some_and(|cause| cause.as_db_error().is_some())
}

/// Reads an address. The error does not repeat it, since it may hold a password.
pub(crate) fn parse(url: &str) -> Result<Config> {
    url.parse().map_err(|error: tokio_postgres::Error| {
        let message = "the address of the database server cannot be read. It must look like \
                       `postgresql://user:password@host:5432/database` or `host=… user=… dbname=…`.";
        Error::config(failure::URL_INVALID, message).with_source(error)
    })
}

/// Where an address points, without its password.
fn place(config: &Config) -> String {
    let hosts: Vec<String> = config
        .get_hosts()
        .iter()
        .map(|host| match host {
            tokio_postgres::config::Host::Tcp(name) => name.clone(),
            tokio_postgres::config::Host::Unix(path) => path.display().to_string(),
        })
        .collect();
    format!("database {} at {}", config.get_dbname().unwrap_or("(none)"), hosts.join(", "))
}

/// The same address with another database.
pub(crate) fn with_database(url: &str, database: &str) -> Result<String> {
    parse(url)?;
    let prefix = ["postgresql://", "postgres://"].into_iter().find(|prefix| url.starts_with(prefix));
    let Some(prefix) = prefix else {
        // In the keyword form the last word counts.
        return Ok(format!("{url} dbname='{}'", database.replace('\\', r"\\").replace('\'', r"\'")));
    };
    let rest = &url[prefix.len()..];
    let (before, query) = rest.split_once('?').map_or((rest, None), |(before, query)| (before, Some(query)));
    let authority = before.split_once('/').map_or(before, |(authority, _)| authority);
    let kept: Vec<&str> =
        query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("dbname=")).collect();
    let query = if kept.is_empty() { String::new() } else { format!("?{}", kept.join("&")) };
    Ok(format!("{prefix}{authority}/{}{query}", encode(OsStr::new(database), false)))
}

/// Percent-encodes everything that means something in an address.
pub(crate) fn encode(text: &OsStr, keep_slashes: bool) -> String {
    text.as_bytes()
        .iter()
        .map(|&byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            b'/' if keep_slashes => "/".to_owned(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// An SQL identifier in quotes.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_database_of_an_address_changes() {
        let cases = [
            ("postgresql:///a?host=/tmp/x&port=1", "postgresql:///b%20c?host=/tmp/x&port=1"),
            ("postgres://u:p%40@h:1,i:2/a", "postgres://u:p%40@h:1,i:2/b%20c"),
            ("postgres://u@h?dbname=a&user=v", "postgres://u@h/b%20c?user=v"),
        ];
        for (from, expected) in cases {
            assert_eq!(with_database(from, "b c").unwrap(), expected);
        }
        let words = with_database("host=h user=u dbname=a", "it's").unwrap();
        assert_eq!(parse(&words).unwrap().get_dbname(), Some("it's"));
    }

    #[test]
    fn an_unreadable_address_is_not_repeated() {
        let error = parse("postgres://u:secret@h:port/db").unwrap_err();
        assert_eq!(error.code(), failure::URL_INVALID);
        assert!(!error.message().contains("secret"));
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_named_without_the_password() {
        let error = connect("postgresql://u:secret@/db?host=/nowhere").await.unwrap_err();
        assert_eq!(error.code(), failure::CONNECT_FAILED);
        assert!(error.message().contains("/nowhere") && !error.message().contains("secret"), "{error}");
    }
}
