//! Following jobs: how one stands, told again whenever that changes, to whoever is to see it.
//!
//! ```text
//!  follow(id) ─▶ TRACK ─▶ whoever claims it, or writes of it, says so on the bus ─┐
//!                                                                                 ├─▶ STATUS of all that are concerned, once ─▶ their followers
//!                       nobody has told for two seconds (behind a pooler, say) ───┘
//! ```
//!
//! All followers of a node share its statements: one for whatever was told meanwhile, and one in two seconds while anybody follows. A
//! follower sees the newest only. The end of a job is the last that is told of it.
//!
//! A row says whether somebody follows it, and a claim gives that back with the job. So those that nobody follows cost nothing, and what a claim
//! has of others is told together, by one notification in five milliseconds at most.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use forge_core::auth::AuthContext;
use forge_core::function::Access;
use forge_core::{Error, Result};
use tokio::sync::{Notify, broadcast, watch};
use tokio::time::Instant;
use uuid::Uuid;

use super::store::{TRACK, get};
use super::wake::CHANNEL;
use super::{JobResult, Jobs, PAUSE};
use crate::db::error::from_driver;

/// How often a job that is followed is looked at, should nobody tell.
pub(super) const FOLLOW_EVERY: Duration = Duration::from_secs(2);

/// How it is told on the bus that a job that somebody follows was begun, and that it has got on otherwise.
const BEGUN: &str = "b ";
const FOLLOWED: &str = "f ";

/// How many are looked at by one statement.
pub(super) const LOOK_MAX: usize = 1000;

/// What is told of jobs that somebody follows.
#[derive(Debug, Clone)]
pub(super) struct News {
    /// Of which; of any, when none is named.
    pub(super) jobs: Arc<[Uuid]>,
    /// They were begun: nothing to those who wait for their end.
    pub(super) begun: bool,
}

impl News {
    /// As it was told on the bus: of those that were begun, and of those that got on otherwise.
    fn of<'a>(told: impl Iterator<Item = &'a str> + Clone) -> impl Iterator<Item = Self> {
        [(BEGUN, true), (FOLLOWED, false)].into_iter().filter_map(move |(what, begun)| {
            let jobs: Arc<[Uuid]> = told.clone().filter_map(|about| about.strip_prefix(what)?.parse().ok()).collect();
            (!jobs.is_empty()).then_some(Self { jobs, begun })
        })
    }

    /// What may have ended, any job when none is named; nothing when it tells of beginnings.
    pub(super) fn may_have_ended(&self) -> Option<&[Uuid]> {
        (!self.begun).then_some(&self.jobs)
    }
}

/// Whether what was told on the bus is news of a job that is followed.
pub(super) fn is_news(about: &str) -> bool {
    about.starts_with(FOLLOWED) || about.starts_with(BEGUN)
}

/// What is known of a job that is followed.
#[derive(Debug, Clone, Default)]
pub(crate) enum Standing {
    /// Not looked at yet.
    #[default]
    Unknown,
    /// How it stands.
    Known(Arc<JobResult>),
    /// It is nowhere (any more).
    Gone,
}

/// The jobs of which somebody on this node wants to know how they stand.
#[derive(Debug, Default)]
pub(super) struct Followed {
    all: Mutex<HashMap<Uuid, watch::Sender<Standing>>>,
    /// Those that are not marked as followed yet.
    fresh: Mutex<Vec<Uuid>>,
    more: Notify,
}

impl Followed {
    /// Those that somebody follows still, of these, or of all.
    fn wanted(&self, these: Option<&[Uuid]>) -> Vec<Uuid> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        match these {
            Some(these) => these.iter().filter(|id| all.contains_key(id)).copied().collect(),
            None => {
                all.retain(|_, standing| standing.receiver_count() > 0);
                all.keys().copied().collect()
            }
        }
    }

    fn take_fresh(&self) -> Vec<Uuid> {
        std::mem::take(&mut *self.fresh.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// To be marked with the next look, whenever that is.
    fn put_aside(&self, ids: Vec<Uuid>) {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner).extend(ids);
    }

    fn put_fresh(&self, ids: impl IntoIterator<Item = Uuid>) {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner).extend(ids);
        self.more.notify_one();
    }

    fn is_empty(&self) -> bool {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Tells what was found of these; what was not found is gone.
    fn tell(&self, ids: &[Uuid], found: Vec<JobResult>) {
        let mut found: HashMap<Uuid, JobResult> = found.into_iter().map(|job| (job.id, job)).collect();
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        for id in ids {
            let Some(standing) = all.get(id) else { continue };
            let now = found.remove(id);
            let over = now.as_ref().is_none_or(JobResult::has_ended);
            standing.send_if_modified(|before| {
                let news = match (&*before, &now) {
                    (Standing::Known(before), Some(now)) => **before != *now,
                    _ => true,
                };
                if news {
                    *before = now.map_or(Standing::Gone, |now| Standing::Known(Arc::new(now)));
                }
                news
            });
            if over {
                // Whoever reads it still has it; who comes later looks anew.
                all.remove(id);
            }
        }
    }
}

impl Jobs {
    /// Something has become of jobs that somebody follows.
    pub(super) fn told(&self, jobs: Vec<Uuid>) {
        self.tell(FOLLOWED, jobs);
    }

    /// Jobs that somebody follows were begun.
    pub(super) fn begun(&self, jobs: Vec<Uuid>) {
        self.tell(BEGUN, jobs);
    }

    fn tell(&self, what: &str, jobs: Vec<Uuid>) {
        for job in jobs {
            self.cluster().bus().tell(CHANNEL, &format!("{what}{job}"), 0, i64::min);
        }
    }

    /// Hears what was told of jobs that somebody follows; see [`is_news`].
    pub(super) fn hear_news<'a>(&self, told: impl Iterator<Item = &'a str> + Clone) {
        for news in News::of(told) {
            // Nobody may follow any.
            drop(self.0.told.send(news));
        }
    }

    /// Something may have been missed: whoever follows a job is to look.
    pub(super) fn hear_everything(&self) {
        drop(self.0.told.send(News { jobs: [].into(), begun: false }));
    }

    /// Marks jobs as followed, so that whoever writes of them tells. Returns those that somebody has the hands on, as a transaction that is open may for
    /// long: they are to be marked later.
    pub(super) async fn track(&self, ids: &[Uuid]) -> Result<Vec<Uuid>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let answer = self.pool().get().await?.query(&TRACK, &[&ids]).await.map_err(from_driver)?;
        answer.rows.iter().map(|row| get(row, 0)).collect()
    }

    /// Follows a job: whoever asks may see it. What is told last is how it ended, or that it is gone.
    pub(crate) fn follow(&self, id: Uuid) -> watch::Receiver<Standing> {
        let followed = &self.0.followed;
        let standing = followed.all.lock().unwrap_or_else(PoisonError::into_inner).entry(id).or_default().subscribe();
        // Also when somebody follows it already: one that ended a moment ago would not be looked at again.
        followed.put_fresh([id]);
        standing
    }

    /// Looks at the jobs that are followed, when something was told of them, and from time to time.
    pub(super) async fn follow_all(&self) {
        let mut told = self.0.told.subscribe();
        let mut next = Instant::now() + FOLLOW_EVERY;
        let followed = &self.0.followed;
        loop {
            let concerned = tokio::select! {
                () = followed.more.notified() => Some(Vec::new()),
                // To have missed some is news of all.
                news = told.recv() => match news {
                    Ok(news) if !news.jobs.is_empty() => Some(news.jobs.to_vec()),
                    Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => None,
                    Err(broadcast::error::RecvError::Closed) => return,
                },
                () = tokio::time::sleep_until(next), if !followed.is_empty() => None,
            };
            let everything = concerned.is_none();
            let mut ids = followed.wanted(concerned.as_deref());
            let fresh = followed.wanted(Some(&followed.take_fresh()));
            ids.extend(&fresh);
            ids.sort_unstable();
            ids.dedup();
            if let Err(why) = self.look_at(&ids, &fresh).await {
                tracing::debug!(error = ?why, "how followed jobs stand could not be found out; trying again");
                tokio::time::sleep(PAUSE).await;
                followed.put_fresh(ids);
            }
            if everything || next <= Instant::now() {
                next = Instant::now() + FOLLOW_EVERY;
            }
        }
    }

    async fn look_at(&self, ids: &[Uuid], fresh: &[Uuid]) -> Result<()> {
        // Those that cannot be marked yet are looked at from time to time meanwhile.
        self.0.followed.put_aside(self.track(fresh).await?);
        for some in ids.chunks(LOOK_MAX) {
            let found = self.status(some).await?;
            self.0.followed.tell(some, found);
        }
        Ok(())
    }
}

/// Whether somebody may know how a job stands: whoever dispatched it, who has a role that it names, and the app itself.
pub(crate) fn may_see(jobs: &Jobs, job: &JobResult, auth: &AuthContext) -> bool {
    let own = auth.user_id().is_some() && job.owner.as_ref().is_some_and(|owner| owner.id.as_deref() == auth.user_id());
    let role = match jobs.registry().info(&job.kind).map(|info| info.track) {
        Some(Access::Public) => true,
        Some(Access::SignedIn) => auth.is_authenticated(),
        Some(Access::AnyRole(roles)) => roles.iter().any(|role| auth.has_role(role)),
        None => false,
    };
    own || role || auth.is_system()
}

/// What is said of a job that is not there, and of one that is none of the caller's business.
pub(crate) fn no_such_job(id: Uuid) -> Error {
    Error::not_found(format!("there is no job {id} (any more)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_for_the_end_of_a_job_is_not_woken_by_its_beginning() {
        let [mine, other] = [1, 2].map(Uuid::from_u128);
        let told =
            [format!("{BEGUN}{mine}"), format!("{FOLLOWED}{other}"), format!("{BEGUN}{other}"), "f nothing".to_owned()];
        assert!(told.iter().all(|about| is_news(about)) && !is_news("r 50 mail"));
        let news: Vec<News> = News::of(told.iter().map(String::as_str)).collect();
        let heard: Vec<(bool, &[Uuid])> = news.iter().map(|news| (news.begun, &*news.jobs)).collect();
        assert_eq!(heard, [(true, &[mine, other][..]), (false, &[other])]);
        assert_eq!([&news[0], &news[1]].map(News::may_have_ended), [None, Some(&[other][..])]);
        let anything = News { jobs: [].into(), begun: false };
        assert_eq!(anything.may_have_ended(), Some(&[][..]), "something may have been missed");
        assert_eq!(News::of(["f x"].into_iter()).count(), 0);
    }
}
