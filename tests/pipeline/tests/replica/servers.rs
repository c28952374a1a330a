//! The servers.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use forge_pg::{Search, find_installation};

/// PostgreSQL does not run as root; then all of it runs as nobody.
const NOBODY: u32 = 65534;

static SERVERS: AtomicU32 = AtomicU32::new(0);

/// A primary, and a replica that follows it.
pub(crate) struct Servers {
    bin: PathBuf,
    pub(crate) dir: PathBuf,
}

impl Servers {
    pub(crate) fn start() -> Self {
        let bin = find_installation(&Search::usual()).unwrap().bin().to_path_buf();
        // A path that is short enough for a socket, and that nobody may enter.
        let dir =
            PathBuf::from(format!("/tmp/forge-replica-{}-{}", std::process::id(), SERVERS.fetch_add(1, Ordering::Relaxed)));
        std::fs::create_dir(&dir).unwrap();
        if root() {
            std::os::unix::fs::chown(&dir, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let servers = Self { bin, dir };
        let primary = servers.dir.join("primary");
        servers.run("initdb", &["-D", text(&primary), "-U", "forge", "--auth=trust", "--no-locale", "-E", "UTF8", "-N"]);
        servers.control("primary", 6001, "start");
        let socket = text(&servers.dir).to_owned();
        let replica = servers.dir.join("replica");
        servers.run(
            "pg_basebackup",
            &["-h", &socket, "-p", "6001", "-U", "forge", "-D", text(&replica), "-R", "--no-sync", "-c", "fast"],
        );
        servers.control("replica", 6002, "start");
        servers
    }

    pub(crate) fn run(&self, program: &str, arguments: &[&str]) {
        let mut command = Command::new(self.bin.join(program));
        command.args(arguments).current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        if root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        let ended = command.spawn().unwrap().wait_with_output().unwrap();
        assert!(ended.status.success(), "{program}: {}", String::from_utf8_lossy(&ended.stderr));
    }

    pub(crate) fn control(&self, which: &str, port: u16, what: &str) {
        let (data, socket) = (self.dir.join(which), text(&self.dir));
        let options = format!(
            "-c listen_addresses='' -c unix_socket_directories={socket} -p {port} -c fsync=off -c wal_level=logical"
        );
        let log = self.dir.join(format!("{which}.log"));
        // `-l` takes over the output, so that pg_ctl itself ends.
        self.run("pg_ctl", &["-D", text(&data), "-o", &options, "-l", text(&log), "-w", "-m", "immediate", what]);
    }

    /// Has the replica follow nobody any more: it takes writes from now on.
    pub(crate) fn promote(&self) {
        self.run("pg_ctl", &["-D", text(&self.dir.join("replica")), "-w", "promote"]);
    }

    /// From now on whoever connects to this address gets to the server at that one.
    pub(crate) fn lead(&self, address: u16, to: u16) {
        let socket = |port: u16| self.dir.join(format!(".s.PGSQL.{port}"));
        let made = self.dir.join("address");
        std::os::unix::fs::symlink(socket(to), &made).unwrap();
        std::fs::rename(made, socket(address)).unwrap();
    }

    pub(crate) fn url(&self, port: u16) -> String {
        format!("postgresql:///postgres?host={}&port={port}&user=forge", self.dir.display())
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for which in ["replica", "primary"] {
            let data = self.dir.join(which);
            let pid = std::fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
            if let Some(pid) = pid.lines().next() {
                let _ = Command::new("kill").args(["-QUIT", pid]).status();
            }
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
