//! How busy a node is: what it says of itself with every beat.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// The jobs of a node, as its worker counts them.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    pub(super) running: AtomicU32,
    pub(super) max: AtomicU32,
}

impl Jobs {
    pub(super) fn now(&self) -> (i32, i32) {
        let get = |count: &AtomicU32| i32::try_from(count.load(Ordering::Relaxed)).unwrap_or(i32::MAX);
        (get(&self.running), get(&self.max))
    }
}

/// What the process takes of its machine.
#[derive(Debug)]
pub(super) struct Meter {
    at: Instant,
    used: Duration,
}

impl Meter {
    pub(super) fn new() -> Self {
        Self { at: Instant::now(), used: processor_time() }
    }

    /// How many processors were used since this was last asked.
    pub(super) fn cpu(&mut self) -> f32 {
        let now = Self::new();
        let passed = now.at.duration_since(self.at);
        let used = now.used.saturating_sub(self.used);
        *self = now;
        if passed.is_zero() { 0.0 } else { used.as_secs_f32() / passed.as_secs_f32() }
    }

    /// How much memory is in use, in bytes; 0 where the system does not say it in `/proc`.
    pub(super) fn memory(&self) -> i64 {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let pages: i64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
        pages.saturating_mul(i64::try_from(rustix::param::page_size()).unwrap_or(0))
    }
}

fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_process_is_seen_as_such() {
        let mut meter = Meter::new();
        let began = Instant::now();
        let mut n = 0_u64;
        while began.elapsed() < Duration::from_millis(50) || meter.used == processor_time() {
            n = std::hint::black_box(n.wrapping_mul(31).wrapping_add(7));
        }
        let cpu = meter.cpu();
        assert!(cpu > 0.0 && cpu < 1024.0, "{cpu}");
        assert!(!cfg!(target_os = "linux") || meter.memory() > 1 << 20, "{}", meter.memory());
    }
}
