//! Waits for files to change. The system only wakes us; what has changed is found by looking.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use forge_core::{Error, Result};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

use super::changes::{Changes, Places, Snapshot};

/// An editor writes a file in several steps: quiet for this long, it is done.
const QUIET: Duration = Duration::from_millis(40);

/// But something that writes all the time does not keep us from looking.
const LONGEST: Duration = Duration::from_millis(500);

/// Watches the files of an app, on a thread of its own. Dropped, it stops.
#[derive(Debug)]
pub(crate) struct Watch {
    changes: mpsc::UnboundedReceiver<Result<Changes>>,
}

impl Watch {
    /// Begins to watch.
    ///
    /// # Errors
    /// `WATCH_FAILED` when the system does not let us.
    pub(crate) fn new(places: Places) -> Result<Self> {
        let (wake, woken) = channel();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading a file is no change. Nobody listens any more when the app has been left.
            if !matches!(event, Ok(notify::Event { kind: EventKind::Access(_), .. })) {
                let _ = wake.send(());
            }
        })
        .map_err(|why| failed(&why))?;
        let mut watched = Watched { watcher, folders: HashSet::new() };
        let snapshot = places.look();
        watched.follow(&snapshot)?;
        let (tell, changes) = mpsc::unbounded_channel();
        let thread = std::thread::Builder::new().name("forge-watch".into()).spawn(move || {
            let ended = watch(&places, &mut watched, snapshot, &woken, &tell);
            if let Err(why) = ended {
                // Nobody listens any more when the command is ending.
                let _ = tell.send(Err(why));
            }
        });
        thread.map_err(|why| Error::internal("no thread could be started").with_source(why))?;
        Ok(Self { changes })
    }

    /// Waits for the next change. Nothing is lost when the future is dropped.
    pub(crate) async fn next(&mut self) -> Result<Changes> {
        match self.changes.recv().await {
            Some(changes) => changes,
            // It ended after an error that was told.
            None => std::future::pending().await,
        }
    }
}

/// The folders that the system watches for us, each by itself: whole trees would include what is ignored.
struct Watched {
    watcher: RecommendedWatcher,
    folders: HashSet<PathBuf>,
}

impl Watched {
    /// Watches the folders that there are now.
    fn follow(&mut self, snapshot: &Snapshot) -> Result<()> {
        let wanted: HashSet<PathBuf> = snapshot.folders.iter().cloned().collect();
        for gone in self.folders.difference(&wanted) {
            // A folder that was removed is not watched any more anyway.
            let _ = self.watcher.unwatch(gone);
        }
        for folder in &wanted {
            // Again for those that are watched: one of the same name may have taken the place of another.
            match self.watcher.watch(folder, RecursiveMode::NonRecursive) {
                Ok(()) => {}
                Err(why) if is_gone(&why, folder) => {}
                Err(why) => return Err(failed(&why)),
            }
        }
        self.folders = wanted;
        Ok(())
    }
}

fn is_gone(why: &notify::Error, folder: &Path) -> bool {
    matches!(why.kind, notify::ErrorKind::PathNotFound) || !folder.exists()
}

fn watch(
    places: &Places,
    watched: &mut Watched,
    mut before: Snapshot,
    woken: &Receiver<()>,
    tell: &mpsc::UnboundedSender<Result<Changes>>,
) -> Result<()> {
    // Ends when the watcher is gone, and that is when this function returns.
    while woken.recv().is_ok() {
        let since = Instant::now();
        while since.elapsed() < LONGEST {
            match woken.recv_timeout(QUIET) {
                Ok(()) => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        let mut after = places.look();
        watched.follow(&after)?;
        if after.folders != before.folders {
            // Files may have come into a new folder before it was watched.
            after = places.look();
        }
        let changes = places.compare(&before, &after, since);
        before = after;
        if !changes.is_empty() && tell.send(Ok(changes)).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

fn failed(why: &notify::Error) -> Error {
    let hint = match why.kind {
        notify::ErrorKind::MaxFilesWatch => {
            "; the system's limit of watched folders is reached: raise it with `sysctl fs.inotify.max_user_watches=524288`"
        }
        _ => "",
    };
    Error::config("WATCH_FAILED", format!("the app's files cannot be watched: {why}{hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn next(watch: &mut Watch) -> Changes {
        tokio::time::timeout(Duration::from_secs(20), watch.next()).await.expect("a change is noticed").unwrap()
    }

    #[tokio::test]
    async fn a_change_is_noticed_in_a_folder_that_is_new() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("src")).unwrap();
        let crates = vec![root.path().to_owned()];
        let mut watch =
            Watch::new(Places { crates, page: None, client: None, config: root.path().join("forge.toml") }).unwrap();
        std::fs::create_dir(root.path().join("src/new")).unwrap();
        std::fs::write(root.path().join("src/new/mod.rs"), "// one").unwrap();
        assert!(next(&mut watch).await.program);
        std::fs::write(root.path().join("src/new/mod.rs"), "// another").unwrap();
        assert!(next(&mut watch).await.program);
        std::fs::write(root.path().join("forge.toml"), "").unwrap();
        assert!(next(&mut watch).await.config);
    }
}
