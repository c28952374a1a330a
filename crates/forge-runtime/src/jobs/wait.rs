//! Waiting for jobs to end, of which there may be many.
//!
//! Only those are asked for of which something was told, a moment's worth of them together, and all that are left now and then.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use forge_core::job::JobStatus;
use forge_core::{Error, Result};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::Instant;
use uuid::Uuid;

use super::follow::{FOLLOW_EVERY, LOOK_MAX, News};
use super::{JobResult, Jobs};

/// How often those are asked for of which something was told, at most.
const NEWS_EVERY: Duration = Duration::from_millis(100);

/// Jobs of which some have ended.
#[derive(Debug)]
struct Wait {
    /// Those that have not, and how they stood last.
    left: HashMap<Uuid, Option<JobResult>>,
    ended: HashMap<Uuid, JobResult>,
}

impl Jobs {
    /// Waits until these have ended.
    pub(super) async fn wait_for(&self, ids: &[Uuid]) -> Result<Vec<JobResult>> {
        let mut told = self.0.told.subscribe();
        let mut wait = Wait { left: ids.iter().map(|id| (*id, None)).collect(), ended: HashMap::new() };
        // Those that somebody has the hands on are marked later.
        let mut unmarked = ids.to_vec();
        let (mut these, mut all_at) = (None, Instant::now());
        loop {
            let asked = Instant::now();
            let asking: Vec<Uuid> = match these.take() {
                Some(some) => some,
                None => {
                    all_at = asked + FOLLOW_EVERY;
                    let mut left = Vec::new();
                    for some in unmarked.chunks(LOOK_MAX) {
                        left.extend(self.track(some).await?);
                    }
                    unmarked = left;
                    wait.left.keys().copied().collect()
                }
            };
            for some in asking.chunks(LOOK_MAX) {
                wait.found(some, self.status(some).await?)?;
            }
            if wait.left.is_empty() {
                return Ok(ids.iter().filter_map(|id| wait.ended.get(id).cloned()).collect());
            }
            these = wait.news(&mut told, asked + NEWS_EVERY, all_at).await;
        }
    }
}

impl Wait {
    /// So was answered when these were asked for.
    fn found(&mut self, asked: &[Uuid], found: Vec<JobResult>) -> Result<()> {
        let mut found: HashMap<Uuid, JobResult> = found.into_iter().map(|job| (job.id, job)).collect();
        for id in asked {
            let before = self.left.remove(id).flatten();
            match (found.remove(id), before) {
                (Some(job), _) if job.has_ended() => drop(self.ended.insert(*id, job)),
                (Some(job), _) => drop(self.left.insert(*id, Some(job))),
                // Only one that was completed leaves nothing behind, if its kind says so.
                (None, Some(before)) => {
                    let completed = JobResult { status: JobStatus::Completed, output: None, error: None, ..before };
                    self.ended.insert(*id, completed);
                }
                (None, None) => {
                    return Err(Error::not_found(format!(
                        "there is no job {id} (any more); one with retain = \"0s\" that was completed before it was waited for leaves nothing behind, unless it is dispatched by dispatch_child"
                    )));
                }
            }
        }
        Ok(())
    }

    /// Waits for news of those that are left, and for more until `some_at`. Nothing when all are to be asked for: it is `all_at`, or some were missed.
    async fn news(&self, told: &mut broadcast::Receiver<News>, some_at: Instant, all_at: Instant) -> Option<Vec<Uuid>> {
        let mut some: HashSet<Uuid> = HashSet::new();
        let missed = async {
            tokio::time::sleep_until(some_at).await;
            None
        };
        loop {
            let until = if some.is_empty() { all_at } else { some_at.min(all_at) };
            if until <= Instant::now() {
                break;
            }
            match tokio::time::timeout_at(until, told.recv()).await {
                Ok(Ok(news)) => match news.may_have_ended() {
                    None => {}
                    Some([]) => return missed.await,
                    Some(jobs) => some.extend(jobs.iter().filter(|id| self.left.contains_key(id))),
                },
                Ok(Err(RecvError::Lagged(_))) => return missed.await,
                Ok(Err(RecvError::Closed)) => tokio::time::sleep_until(all_at).await,
                Err(_) => break,
            }
        }
        (!some.is_empty() && Instant::now() < all_at).then(|| some.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(id: Uuid, status: JobStatus) -> JobResult {
        JobResult {
            id,
            kind: "mail".into(),
            status,
            attempt: 1,
            progress: None,
            progress_message: None,
            output: None,
            error: None,
            owner: None,
            cancel_requested: false,
        }
    }

    fn wait(n: u128) -> Wait {
        Wait { left: (1..=n).map(|n| (Uuid::from_u128(n), None)).collect(), ended: HashMap::new() }
    }

    #[test]
    fn one_that_was_there_and_leaves_nothing_behind_was_completed() {
        let [one, other] = [1, 2].map(Uuid::from_u128);
        let mut wait = wait(2);
        wait.found(&[one, other], vec![job(one, JobStatus::Running), job(other, JobStatus::DeadLetter)]).unwrap();
        assert_eq!(wait.left.keys().collect::<Vec<_>>(), [&one]);
        wait.found(&[one], Vec::new()).unwrap();
        assert_eq!((wait.ended[&one].status, wait.ended[&other].status), (JobStatus::Completed, JobStatus::DeadLetter));
        assert!(wait.left.is_empty());
        let why = self::wait(1).found(&[one], Vec::new()).unwrap_err();
        assert!(why.code() == "NOT_FOUND" && why.message().contains("dispatch_child"), "{why}");
    }

    #[tokio::test]
    async fn news_of_a_moment_are_asked_for_together() {
        let (tell, mut told) = broadcast::channel(2000);
        let news = |id: u128, begun| News { jobs: [Uuid::from_u128(id)].into(), begun };
        let wait = wait(1000);
        let began = Instant::now();
        let telling = async {
            for n in 1..=600 {
                // Each twice, and some that are nobody's here.
                for (n, begun) in [(n, false), (n, false), (n + 400, true), (n + 5000, false)] {
                    tell.send(news(n, begun)).unwrap();
                }
                tokio::task::yield_now().await;
            }
            std::future::pending().await
        };
        let far = began + Duration::from_secs(600);
        let some = tokio::select! {
            some = wait.news(&mut told, began + NEWS_EVERY, far) => some.unwrap(),
            () = telling => unreachable!(),
        };
        assert!(began.elapsed() >= NEWS_EVERY);
        assert!((1..=600).contains(&some.len()), "{}", some.len());
        assert!(some.iter().all(|id| id.as_u128() <= 600));
        // To have missed some is news of all, and so is that nothing was told for a while.
        for n in 0..3000 {
            tell.send(news(n, false)).unwrap();
        }
        assert_eq!(wait.news(&mut told, Instant::now(), far).await, None);
        while told.try_recv().is_ok() {}
        assert_eq!(wait.news(&mut told, Instant::now(), Instant::now() + Duration::from_millis(1)).await, None);
    }
}
