//! A real PgBouncer before a database.

use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio_postgres::config::Host;

/// How many connections to the server it keeps: fewer than there are clients, so that those meet.
pub(crate) const SERVER_CONNECTIONS: u32 = 3;

/// A running PgBouncer. Ended when it is dropped.
pub(crate) struct PgBouncer {
    process: Child,
    dir: tempfile::TempDir,
    port: u16,
}

impl PgBouncer {
    /// Starts one before a database, which is reached over a socket, in a mode of PgBouncer's: `transaction` or `session`. Further
    /// lines of its configuration may be given.
    pub(crate) fn before(database: &str, mode: &str, more: &str) -> Self {
        let server: tokio_postgres::Config = database.parse().unwrap();
        let [Host::Unix(socket)] = server.get_hosts() else { panic!("not reached over a socket: {database}") };
        let mut target = format!("host={} port={}", socket.display(), server.get_ports()[0]);
        target.push_str(&format!(" dbname={} user={}", server.get_dbname().unwrap(), server.get_user().unwrap()));
        if let Some(password) = server.get_password() {
            target.push_str(&format!(" password={}", String::from_utf8_lossy(password)));
        }
        // Free a moment ago, and nobody else asks for that one.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let dir = tempfile::Builder::new().prefix("forge-pgbouncer-").tempdir_in("/tmp").unwrap();
        let config = format!(
            "[databases]\napp = {target}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir = {}\nauth_type = any\n\
             pool_mode = {mode}\ndefault_pool_size = {SERVER_CONNECTIONS}\nmax_client_conn = 200\nmax_prepared_statements = 0\n{more}\n",
            dir.path().display()
        );
        let program = find();
        let config =
            if knows_prepared_statements(&program) { config } else { config.replace("max_prepared_statements = 0\n", "") };
        let file = dir.path().join("pgbouncer.ini");
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new(program);
        command.arg(&file).stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(std::fs::File::create(dir.path().join("log")).unwrap());
        // It does not run as root; the socket is the server's owner's.
        let owner = std::fs::metadata(socket).unwrap();
        if std::fs::metadata("/proc/self").unwrap().uid() == 0 && owner.uid() != 0 {
            std::os::unix::fs::chown(dir.path(), Some(owner.uid()), Some(owner.gid())).unwrap();
            command.uid(owner.uid()).gid(owner.gid());
        }
        let pgbouncer = Self { process: command.spawn().unwrap(), dir, port };
        let deadline = Instant::now() + Duration::from_secs(30);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "PgBouncer does not listen:\n{}", pgbouncer.log());
            std::thread::sleep(Duration::from_millis(2));
        }
        pgbouncer
    }

    /// Its address.
    pub(crate) fn url(&self) -> String {
        format!("postgres://anybody@127.0.0.1:{}/app", self.port)
    }

    /// Its address by its socket.
    pub(crate) fn socket_url(&self) -> String {
        format!("postgres:///app?host={}&port={}&user=anybody", self.dir.path().display(), self.port)
    }

    /// What it has said.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        // Nothing to be done about one that has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Where it is installed; `/usr/sbin` is not in everybody's path.
fn find() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")]);
    let mut programs = folders.map(|folder| folder.join("pgbouncer"));
    programs.find(|program| program.is_file()).unwrap_or_else(|| {
        panic!("this test needs PgBouncer: install it (Debian: apt-get install pgbouncer), or run ./test --quick")
    })
}

/// Since 1.21 it can keep track of prepared statements, which is switched off: without that it is harder.
fn knows_prepared_statements(program: &Path) -> bool {
    let output = Command::new(program).arg("--version").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.split_whitespace().nth(1).unwrap_or_default();
    let minor = version.split('.').nth(1).and_then(|minor| minor.parse().ok());
    minor.unwrap_or(0_u32) >= 21
}
