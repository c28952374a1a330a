//! How the server is set up. Everything goes on its command line, so that nothing depends on files in the data
//! folder, and [`differences`] can compare a running server with what would be started today.

use std::collections::HashMap;
use std::path::Path;

/// What a server is for. The two have servers and data of their own, side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// A person's data while developing: durable, kept until it is removed by hand.
    Dev,
    /// Databases that live as long as a test: fast, not durable, in memory where there is room.
    Test,
}

impl Purpose {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Test => "test",
        }
    }
}

/// The superuser of the cluster and the database to connect to when there is none of the caller's yet.
pub(crate) const SUPERUSER: &str = "forge";
pub(crate) const MAINTENANCE_DATABASE: &str = "postgres";

/// Every value is written the way the server shows it, since that is how it is compared.
const COMMON: &[(&str, &str)] = &[
    // The change feed reads logical messages.
    ("wal_level", "logical"),
    ("unix_socket_permissions", "0700"),
    ("timezone", "UTC"),
    ("log_timezone", "UTC"),
    ("logging_collector", "off"),
];

const DEV: &[(&str, &str)] =
    &[("max_connections", "200"), ("max_wal_senders", "20"), ("max_replication_slots", "20"), ("shared_buffers", "128MB")];

const TEST: &[(&str, &str)] = &[
    // Many tests at once, each with a pool and perhaps several nodes with a slot each.
    ("max_connections", "500"),
    ("max_wal_senders", "100"),
    ("max_replication_slots", "100"),
    ("shared_buffers", "64MB"),
    // The data is thrown away after a crash of the machine. A commit is still handed to the system, which costs little: only then does the
    // change feed hear of it.
    ("fsync", "off"),
    ("synchronous_commit", "on"),
    ("full_page_writes", "off"),
    // The data may lie in memory: keep little of what is only needed for recovery, also for a stalled slot.
    ("min_wal_size", "32MB"),
    ("max_wal_size", "128MB"),
    ("max_slot_wal_keep_size", "256MB"),
];

/// The settings of a purpose that every start and every join agree on.
pub(crate) fn settings(purpose: Purpose) -> impl Iterator<Item = (&'static str, &'static str)> {
    let own = match purpose {
        Purpose::Dev => DEV,
        Purpose::Test => TEST,
    };
    COMMON.iter().chain(own).copied()
}

/// The port when nobody asks for TCP. Then it is only a part of the socket's name.
pub(crate) const DEFAULT_PORT: u16 = 5432;

/// The arguments after the program: data, socket, TCP only if asked for, and the settings.
pub(crate) fn arguments(purpose: Purpose, data: &Path, socket: &Path, tcp_port: Option<u16>) -> Vec<String> {
    let mut all = vec!["-D".to_owned(), data.to_string_lossy().into_owned()];
    let mut set = |name: &str, value: &str| all.extend(["-c".to_owned(), format!("{name}={value}")]);
    // The value is a list: quotes keep a folder with a comma or a space in its name in one piece.
    set("unix_socket_directories", &format!("\"{}\"", socket.to_string_lossy().replace('"', "\"\"")));
    set("listen_addresses", if tcp_port.is_some() { "127.0.0.1" } else { "" });
    set("port", &tcp_port.unwrap_or(DEFAULT_PORT).to_string());
    for (name, value) in settings(purpose) {
        set(name, value);
    }
    all
}

/// The names of the values that a join looks at.
pub(crate) fn names(purpose: Purpose) -> Vec<&'static str> {
    settings(purpose)
        .map(|(name, _)| name)
        .chain(["data_directory", "listen_addresses", "port", "server_version"])
        .collect()
}

/// What a running server has otherwise than it would be started now, as short sentences. A server that listens on
/// a port that somebody else asked for is fine for a caller who needs none.
pub(crate) fn differences(
    purpose: Purpose,
    data: &Path,
    tcp_port: Option<u16>,
    shown: &HashMap<String, String>,
) -> Vec<String> {
    let data = data.to_string_lossy();
    let mut wanted: Vec<(&str, String)> = settings(purpose).map(|(name, value)| (name, value.to_owned())).collect();
    wanted.push(("data_directory", data.into_owned()));
    if let Some(port) = tcp_port {
        wanted.extend([("port", port.to_string()), ("listen_addresses", "127.0.0.1".to_owned())]);
    }
    wanted
        .into_iter()
        .filter_map(|(name, value)| {
            let found = shown.get(name).map_or("unknown", String::as_str);
            (found != value).then(|| format!("{name} is {found} instead of {value}"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(purpose: Purpose) -> HashMap<String, String> {
        let own = [("data_directory", "/data"), ("port", "5432"), ("listen_addresses", "")];
        settings(purpose).chain(own).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn another_value_and_a_missing_port_are_differences() {
        let data = Path::new("/data");
        let mut found = shown(Purpose::Dev);
        assert!(differences(Purpose::Dev, data, None, &found).is_empty());
        assert_eq!(differences(Purpose::Dev, data, Some(6000), &found).len(), 2);
        found.insert("wal_level".to_owned(), "replica".to_owned());
        let all = differences(Purpose::Dev, data, None, &found);
        assert_eq!(all, ["wal_level is replica instead of logical"]);
    }

    #[test]
    fn a_port_of_somebody_else_does_not_matter() {
        let mut found = shown(Purpose::Test);
        found.insert("port".to_owned(), "6000".to_owned());
        found.insert("listen_addresses".to_owned(), "127.0.0.1".to_owned());
        assert!(differences(Purpose::Test, Path::new("/data"), None, &found).is_empty());
    }
}
