//! How much time of a core a process has used: the figure that a noisy machine changes least.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::{Result, cores};

/// Who has used how much of the cores.
#[derive(Debug)]
pub(crate) struct Used {
    pub(crate) server: Duration,
    pub(crate) postgres: Duration,
    load: Duration,
    all: Duration,
}

impl Used {
    pub(crate) fn now(server: u32, postgres: u32) -> Result<Self> {
        Ok(Self {
            server: used_by(server)?,
            postgres: used_by_family(postgres)?,
            load: used_by(std::process::id())?,
            all: used_on(&[cores::SERVER, cores::LOAD])?,
        })
    }

    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            server: self.server.saturating_sub(before.server),
            postgres: self.postgres.saturating_sub(before.postgres),
            load: self.load.saturating_sub(before.load),
            all: self.all.saturating_sub(before.all),
        }
    }

    /// Everybody else.
    pub(crate) fn others(&self) -> Duration {
        self.all.saturating_sub(self.server + self.postgres + self.load)
    }
}

/// What a process has used since it began, in its own code and in the system's.
pub(crate) fn used_by(pid: u32) -> Result<Duration> {
    Ok(read(&Path::new("/proc").join(pid.to_string()))?.used)
}

/// What a process and its children have used. Children that have ended are left out.
pub(crate) fn used_by_family(parent: u32) -> Result<Duration> {
    let mut total = Duration::ZERO;
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // A process may end while we look.
        if let Ok(process) = read(&entry.path())
            && (pid == parent || process.parent == parent)
        {
            total += process.used;
        }
    }
    Ok(total)
}

/// What everything on these cores has used since the machine began, and what its host took away meanwhile.
pub(crate) fn used_on(cores: &[usize]) -> Result<Duration> {
    let text = fs::read_to_string("/proc/stat").map_err(|why| format!("cannot read /proc/stat: {why}"))?;
    cores
        .iter()
        .map(|core| {
            busy_ticks(&text, *core)
                .and_then(|ticks| in_time(ticks, rustix::param::clock_ticks_per_second()))
                .ok_or_else(|| format!("/proc/stat does not say what core {core} does").into())
        })
        .sum()
}

fn busy_ticks(stat: &str, core: usize) -> Option<u64> {
    let name = format!("cpu{core}");
    let line = stat.lines().find_map(|line| line.strip_prefix(&name).filter(|rest| rest.starts_with(' ')))?;
    let ticks: Vec<u64> = line.split_ascii_whitespace().map_while(|number| number.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq, steal; what follows is contained in them.
    [0, 1, 2, 5, 6, 7].iter().map(|n| ticks.get(*n)).sum()
}

/// How much memory a process has.
pub(crate) fn resident_bytes(pid: u32) -> Result<u64> {
    let file = Path::new("/proc").join(pid.to_string()).join("statm");
    let text = fs::read_to_string(&file).map_err(|why| format!("cannot read {}: {why}", file.display()))?;
    let pages = text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    let pages = pages.ok_or_else(|| format!("{} is not as proc(5) describes it", file.display()))?;
    Ok(pages * rustix::param::page_size() as u64)
}

struct Process {
    parent: u32,
    used: Duration,
}

fn read(folder: &Path) -> Result<Process> {
    let file = folder.join("stat");
    let text = fs::read_to_string(&file).map_err(|why| format!("cannot read {}: {why}", file.display()))?;
    parse(&text, rustix::param::clock_ticks_per_second())
        .ok_or_else(|| format!("{} is not as proc(5) describes it", file.display()).into())
}

fn parse(stat: &str, ticks_per_second: u64) -> Option<Process> {
    // The name, in parentheses, may contain anything.
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |n: usize| fields.get(n)?.parse::<u64>().ok();
    // proc(5) counts from 1, and the first two are before the parenthesis: ppid is 4, utime 14, stime 15.
    let (parent, ticks) = (number(1)?, number(11)? + number(12)?);
    Some(Process { parent: parent.try_into().ok()?, used: in_time(ticks, ticks_per_second)? })
}

fn in_time(ticks: u64, ticks_per_second: u64) -> Option<Duration> {
    Some(Duration::from_nanos(ticks.checked_mul(1_000_000_000)?.checked_div(ticks_per_second)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_process_does_not_confuse() {
        let stat = "42 (a) R 7 (b) S 1 42 42 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 1 0 5 6 7";
        let process = parse(stat, 100).unwrap();
        assert_eq!((process.parent, process.used), (1, Duration::from_secs(2)));
    }

    #[test]
    fn a_core_is_busy_with_everything_but_waiting() {
        let stat = "cpu  9 9 9 9 9 9 9 9 9 9\ncpu1 1 2 4 800 1600 8 16 32 64 128\ncpu10 9 9 9 9 9 9 9 9 9 9\n";
        assert_eq!(busy_ticks(stat, 1), Some(63));
        assert_eq!(busy_ticks(stat, 2), None);
    }

    #[test]
    fn this_process_has_used_some_time() {
        let began = std::time::Instant::now();
        while used_by(std::process::id()).unwrap().is_zero() {
            assert!(began.elapsed() < Duration::from_secs(60), "no time is counted");
        }
        assert!(used_by_family(std::process::id()).unwrap() >= Duration::from_millis(1));
    }
}
