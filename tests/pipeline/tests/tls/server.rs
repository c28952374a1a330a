//! A server of the test's own that speaks TLS.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use forge_pg::{Search, find_installation};
use forge_runtime::config::{Config, Mode, Secret, TlsMode};
use forge_runtime::db::Database;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::support::server::connect;

/// PostgreSQL does not run as root; then all of it runs as nobody.
const NOBODY: u32 = 65534;

static SERVERS: AtomicU32 = AtomicU32::new(0);

/// Who signs certificates.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn file(&self, path: PathBuf) -> PathBuf {
        std::fs::write(&path, self.0.pem()).unwrap();
        path
    }
}

/// A server on TCP.
pub(crate) struct Server {
    child: Child,
    dir: PathBuf,
    port: u16,
}

impl Server {
    /// A server on TCP whose certificate is for `localhost`; none when this PostgreSQL was built without TLS.
    pub(crate) fn start(authority: &Authority) -> Option<Self> {
        let bin = find_installation(&Search::usual()).unwrap().bin().to_path_buf();
        let dir =
            PathBuf::from(format!("/tmp/forge-tls-{}-{}", std::process::id(), SERVERS.fetch_add(1, Ordering::Relaxed)));
        std::fs::create_dir(&dir).unwrap();
        certify(&dir, authority);
        let root = is_root();
        if root {
            chown(&dir, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let command = |program: &str| {
            let mut command = Command::new(bin.join(program));
            command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null());
            if root {
                command.uid(NOBODY).gid(NOBODY);
            }
            command
        };
        let data = dir.join("data");
        let made = command("initdb")
            .args(["-D", text(&data), "-U", "forge", "--auth=trust", "--no-locale", "-E", "UTF8", "-N"])
            .status();
        assert!(made.unwrap().success());
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let log = std::fs::File::create(dir.join("log")).unwrap();
        let mut child = command("postgres")
            .args(["-D", text(&data), "-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1"])
            .args(["-c", &format!("unix_socket_directories={}", dir.display()), "-c", "ssl=on", "-c", "wal_level=logical"])
            .args(["-c", &format!("ssl_cert_file={}/server.crt", dir.display())])
            .args(["-c", &format!("ssl_key_file={}/server.key", dir.display())])
            .stderr(log)
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            let said = std::fs::read_to_string(dir.join("log")).unwrap();
            if child.try_wait().unwrap().is_some() {
                std::fs::remove_dir_all(&dir).unwrap();
                assert!(said.contains("SSL is not supported by this build"), "{said}");
                return None;
            }
            assert!(Instant::now() < deadline, "{said}");
            std::thread::yield_now();
        }
        Some(Self { child, dir, port })
    }

    /// Where a file of the test's may lie.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Waits until it lets somebody in.
    pub(crate) async fn is_up(&self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !self.reachable("127.0.0.1", TlsMode::Disable, None).await {
            assert!(Instant::now() < deadline, "the server does not come up");
        }
    }

    /// Whom it lets in from now on, as lines of pg_hba.conf.
    pub(crate) fn lets_in(&self, lines: &str) {
        std::fs::write(self.dir.join("data/pg_hba.conf"), lines).unwrap();
        self.reload();
    }

    /// From now on it shows a certificate that this authority has signed.
    pub(crate) fn is_certified_by(&self, authority: &Authority) {
        certify(&self.dir, authority);
        self.reload();
    }

    fn reload(&self) {
        assert!(Command::new("kill").args(["-HUP", &self.child.id().to_string()]).status().unwrap().success());
    }

    /// An address over TCP, to be connected to by name.
    pub(crate) fn url(&self, user: &str, password: &str, database: &str) -> String {
        format!("postgresql://{user}:{password}@localhost:{}/{database}", self.port)
    }

    /// Connects on the server's own machine, as its superuser.
    pub(crate) async fn superuser(&self, database: &str) -> tokio_postgres::Client {
        let (folder, port) = (self.dir.display(), self.port);
        connect(&format!("postgresql:///{database}?host={folder}&port={port}&user=forge")).await
    }

    pub(crate) async fn reachable(&self, host: &str, tls: TlsMode, ca: Option<&Path>) -> bool {
        let mut config = Config::defaults(Mode::Test).database;
        config.url = Some(Secret::new(format!("postgresql://forge@{host}:{}/postgres", self.port)));
        config.tls = Some(tls);
        config.tls_ca_file = ca.map(Path::to_path_buf);
        Database::new("tls", &config).unwrap().check().await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-QUIT", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Puts a certificate for `localhost` where the server looks for it.
fn certify(dir: &Path, authority: &Authority) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &authority.0).unwrap();
    std::fs::write(dir.join("server.crt"), certificate.pem()).unwrap();
    std::fs::write(dir.join("server.key"), key.serialize_pem()).unwrap();
    std::fs::set_permissions(dir.join("server.key"), std::fs::Permissions::from_mode(0o600)).unwrap();
    if is_root() {
        for file in ["server.crt", "server.key"] {
            chown(dir.join(file), Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
