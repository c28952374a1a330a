//! TLS to the database: encrypted means the server is the right one, unless less was asked for.

#![allow(clippy::unwrap_used)]

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use forge_pg::{Search, find_installation};
use forge_runtime::config::{Config, Mode, Secret, TlsMode};
use forge_runtime::db::Database;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

const NOBODY: u32 = 65534;

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn file(&self, path: PathBuf) -> PathBuf {
        std::fs::write(&path, self.0.pem()).unwrap();
        path
    }
}

struct Server {
    child: Child,
    dir: PathBuf,
    port: u16,
}

impl Server {
    /// A server on TCP whose certificate is for `localhost`; none when this PostgreSQL was built without TLS.
    fn start(authority: &Authority) -> Option<Self> {
        let bin = find_installation(&Search::usual()).unwrap().bin().to_path_buf();
        let dir = PathBuf::from(format!("/tmp/forge-tls-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &authority.0).unwrap();
        std::fs::write(dir.join("server.crt"), certificate.pem()).unwrap();
        std::fs::write(dir.join("server.key"), key.serialize_pem()).unwrap();
        std::fs::set_permissions(dir.join("server.key"), std::fs::Permissions::from_mode(0o600)).unwrap();
        let root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
        if root {
            for path in [dir.clone(), dir.join("server.crt"), dir.join("server.key")] {
                chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
            }
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
            .args(["-c", &format!("unix_socket_directories={}", dir.display()), "-c", "ssl=on"])
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

    async fn reachable(&self, host: &str, tls: TlsMode, ca: Option<&Path>) -> bool {
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

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test]
async fn the_server_is_verified() {
    let (ours, strangers) = (Authority::new(), Authority::new());
    let Some(server) = Server::start(&ours) else {
        println!("this PostgreSQL was built without TLS; there is nothing to verify");
        return;
    };
    let ours = ours.file(server.dir.join("ours.pem"));
    let strangers = strangers.file(server.dir.join("strangers.pem"));

    let deadline = Instant::now() + Duration::from_secs(30);
    while !server.reachable("127.0.0.1", TlsMode::Disable, None).await {
        assert!(Instant::now() < deadline, "the server does not come up");
    }
    assert!(server.reachable("localhost", TlsMode::VerifyFull, Some(&ours)).await, "the right server");
    assert!(!server.reachable("localhost", TlsMode::VerifyFull, Some(&strangers)).await, "signed by somebody else");
    assert!(!server.reachable("localhost", TlsMode::VerifyFull, None).await, "signed by nobody the system knows");
    assert!(!server.reachable("127.0.0.1", TlsMode::VerifyFull, Some(&ours)).await, "another name");
    assert!(server.reachable("127.0.0.1", TlsMode::Require, None).await, "encrypted, whoever it is");

    // With plain connections refused, the one that gets in is encrypted.
    std::fs::write(server.dir.join("data/pg_hba.conf"), "hostssl all all 127.0.0.1/32 trust\n").unwrap();
    assert!(Command::new("kill").args(["-HUP", &server.child.id().to_string()]).status().unwrap().success());
    let deadline = Instant::now() + Duration::from_secs(30);
    while server.reachable("127.0.0.1", TlsMode::Disable, None).await {
        assert!(Instant::now() < deadline, "the server goes on taking plain connections");
    }
    assert!(server.reachable("localhost", TlsMode::VerifyFull, Some(&ours)).await);
}
