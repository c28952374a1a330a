//! Who runs on which core.

use crate::Result;

/// The core of the server that is measured.
pub(crate) const SERVER: usize = 0;
/// The core of the load client and of PostgreSQL.
pub(crate) const LOAD: usize = 1;

/// Keeps the calling thread, and everything it starts from now on, on one core.
#[cfg(target_os = "linux")]
pub(crate) fn pin_to(core: usize) -> Result<()> {
    use rustix::thread::{CpuSet, sched_setaffinity};
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set)
        .map_err(|why| format!("cannot run on core {core}: {why}; the benchmarks need cores 0 and 1 of the machine").into())
}

/// Other systems have no such thing, or not for a process like this one.
#[cfg(not(target_os = "linux"))]
pub(crate) fn pin_to(_: usize) -> Result<()> {
    Err("the benchmarks pin processes to cores and read /proc, so they need Linux".into())
}

/// Does something on a thread that is kept on a core.
pub(crate) fn on<T: Send>(core: usize, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            pin_to(core)?;
            work()
        });
        worker.join().map_err(|_| format!("the thread on core {core} panicked"))?
    })
}
