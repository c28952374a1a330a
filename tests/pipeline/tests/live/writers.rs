//! Who writes without a pause, while a test looks on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use forge::testing::TestApp;
use tokio::task::JoinHandle;

/// Writers at work, until they are stopped.
pub(crate) struct Writers {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Writers {
    /// So many, each of which does what `each` gives for its number again and again.
    pub(crate) fn start<W, F>(count: usize, each: impl Fn(usize) -> W) -> Self
    where
        W: FnMut() -> F + Send + 'static,
        F: Future<Output = ()> + Send,
    {
        let stop = Arc::<AtomicBool>::default();
        let tasks = (0..count).map(|n| {
            let (mut write, stop) = (each(n), stop.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    write().await;
                }
            })
        });
        let tasks = tasks.collect();
        Self { stop, tasks }
    }

    /// So many, each of which counts up a counter of its own: `n0`, `n1` and so on.
    pub(crate) fn bumping(app: &TestApp, count: usize) -> Self {
        Self::start(count, |n| {
            let app = app.clone();
            move || {
                let app = app.clone();
                async move {
                    app.anonymous().call(pipeline::bump, pipeline::Bump { name: format!("n{n}") }).await.unwrap();
                }
            }
        })
    }

    /// Stops them, and waits until they have.
    pub(crate) async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
    }
}
