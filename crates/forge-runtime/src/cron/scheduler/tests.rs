//! Whoever led once decides nothing any more, whatever it believes and however late its statements arrive.

use std::time::Duration;

use forge_core::Result;
use forge_core::cron::{Cron, CronInfo, ForgeCron, Overlap};
use forge_core::function::BoxFuture;
use forge_core::job::{Priority, RetryPolicy};
use tokio::sync::watch;

use super::CronRunner;
use crate::app::Stage;
use crate::cluster::{Cluster, Heart, LeaderGuard, LeaderRole};
use crate::config::{Config, JobsConfig};
use crate::cron::{CronContext, CronEntry, CronRegistry};
use crate::jobs::{JobRegistry, Jobs};
use crate::realtime::differential::{Place, on_one_thread};

struct EverySecond;

impl Cron for EverySecond {
    const INFO: CronInfo = CronInfo { name: "every_second", expression: "* * * * * *", ..Hourly::<false>::INFO };
}

impl ForgeCron<CronContext> for EverySecond {
    fn execute(_: &CronContext) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { Ok(()) })
    }
}

struct Hourly<const CATCH_UP: bool>;

impl<const CATCH_UP: bool> Cron for Hourly<CATCH_UP> {
    const INFO: CronInfo = CronInfo {
        name: if CATCH_UP { "made_up_for" } else { "hourly" },
        doc: "",
        expression: "0 * * * *",
        timezone: "UTC",
        catch_up: CATCH_UP,
        catch_up_limit: 2,
        overlap: Overlap::Allow,
        timeout: Duration::from_secs(60),
        retry: RetryPolicy::DEFAULT,
        queue: "default",
        priority: Priority::Normal,
        capability: "general",
        module: "",
        file: "",
        line: 0,
    };
}

impl<const CATCH_UP: bool> ForgeCron<CronContext> for Hourly<CATCH_UP> {
    fn execute(_: &CronContext) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { Ok(()) })
    }
}

/// A scheduler whose heart is beaten by hand.
struct Scheduler {
    cluster: Cluster,
    heart: Heart,
    runner: CronRunner,
    _stage: watch::Sender<Stage>,
}

impl Scheduler {
    fn new(place: &Place) -> Self {
        let defaults = Config::default();
        let (stage, seen) = watch::channel(Stage::Ready);
        let cluster = Cluster::new();
        let options = (&defaults.cluster, &defaults.node);
        let heart = Heart::new(cluster.clone(), &place.database, options, (None, "1", Vec::new()), seen).unwrap();
        let pool = place.database.jobs().clone();
        let jobs = Jobs::new(JobRegistry::default(), &JobsConfig::default(), pool, cluster.clone());
        let crons = [CronEntry::of::<Hourly<true>>(), CronEntry::of::<Hourly<false>>()];
        let runner = CronRunner::new(CronRegistry::new(crons).unwrap(), jobs);
        Self { cluster, heart, runner, _stage: stage }
    }

    fn with(mut self, cron: CronEntry) -> Self {
        self.runner.crons = CronRegistry::new([cron]).unwrap();
        self
    }

    fn guard(&self) -> Option<LeaderGuard> {
        self.cluster.election(LeaderRole::Scheduler).guard()
    }
}

/// What was decided: how many runs, how many jobs, how many missed, and how far.
async fn decided(place: &Place) -> (i64, i64, i64, String) {
    let text = "SELECT (SELECT count(*) FROM forge_cron_runs), (SELECT count(*) FROM forge_jobs),
                       (SELECT coalesce(sum(missed), 0)::int8 FROM forge_crons), (SELECT string_agg(last_slot::text, ' ' ORDER BY name) FROM forge_crons)";
    let row = place.client.query_one(text, &[]).await.unwrap();
    (row.get(0), row.get(1), row.get(2), row.get(3))
}

#[test]
fn what_is_hardly_late_is_run_each_time_of_it() {
    on_one_thread(async {
        crate::install_crypto();
        let place = Place::make().await;
        let mut one = Scheduler::new(&place).with(CronEntry::of::<EverySecond>());
        one.heart.run_once().await.unwrap();
        let guard = one.guard().unwrap();
        one.runner.step(&guard).await.unwrap();
        let began = decided(&place).await;
        // Some seconds, during which nobody led. This may take its time, as long as it is less than a minute.
        one.cluster.clock().advance(Duration::from_secs(10));
        one.runner.step(&guard).await.unwrap();
        let caught = decided(&place).await;
        assert!(caught.0 >= began.0 + 10 && caught.2 == 0, "{caught:?} after {began:?}");
        // Of an hour, those of the last minute are.
        one.cluster.clock().advance(Duration::from_secs(3600));
        one.runner.step(&guard).await.unwrap();
        let after = decided(&place).await;
        assert!((60..=61).contains(&(after.0 - caught.0)) && after.2 >= 3539, "{after:?} after {caught:?}");
        place.remove().await;
    });
}

#[test]
fn a_leader_that_was_followed_decides_nothing_any_more() {
    on_one_thread(async {
        crate::install_crypto();
        let place = Place::make().await;
        let (mut one, mut two) = (Scheduler::new(&place), Scheduler::new(&place));
        one.heart.run_once().await.unwrap();
        two.heart.run_once().await.unwrap();
        let old = one.guard().unwrap();
        assert!(two.guard().is_none());
        one.runner.step(&old).await.unwrap();
        // While it leads, it decides: the newest two of one cron, none of the other, and the rest is missed.
        one.cluster.clock().advance(Duration::from_secs(5 * 3600));
        one.runner.step(&old).await.unwrap();
        let before = decided(&place).await;
        assert_eq!(before.0, before.1);
        assert!((2..=4).contains(&before.0) && before.2 >= 6, "{before:?}");
        // It stalls, its lease runs out, somebody else leads: the lock is taken from it.
        place.client.batch_execute("UPDATE forge_leaders SET lease_until = now() - interval '1 second'").await.unwrap();
        while two.guard().is_none() {
            two.heart.run_once().await.unwrap();
        }
        let new = two.guard().unwrap();
        assert!(new.term() > old.term());
        // It goes on as if nothing had happened: much is due by its clock.
        one.cluster.clock().advance(Duration::from_secs(5 * 3600));
        let why = one.runner.step(&old).await.unwrap_err();
        assert!(why.message().contains("another node leads by now"), "{why:?}");
        assert_eq!(decided(&place).await, before, "neither runs, nor what was missed, nor how far it got");
        // The other one, whose clock was never turned, repeats nothing, and goes on from there when its time comes.
        two.runner.step(&new).await.unwrap();
        assert_eq!(decided(&place).await, before);
        two.cluster.clock().advance(Duration::from_secs(10 * 3600));
        two.runner.step(&new).await.unwrap();
        let after = decided(&place).await;
        assert!(after.0 > before.0 && after.2 > before.2, "{after:?} after {before:?}");
        place.remove().await;
    });
}
