//! Crons: each time once, whatever leads and whatever clocks do.

use std::time::Duration;

use forge::Timestamp;
use forge::prelude::*;
use forge::testing::TestApp;
use pipeline as _;

const HOUR: Duration = Duration::from_secs(3600);

/// The runs of a cron: the times that they were for, and whether they made up for something.
async fn runs(app: &TestApp, cron: &str) -> Vec<(Timestamp, bool)> {
    let sql = app.sql().await.unwrap();
    let rows = sql.query("SELECT label FROM executions WHERE label LIKE $1 || ' %' ORDER BY n", &[&cron]).await.unwrap();
    rows.iter()
        .map(|row| {
            let label: String = row.get(0);
            let mut parts = label.split(' ').skip(1);
            (parts.next().unwrap().parse().unwrap(), parts.next() == Some("true"))
        })
        .collect()
}

#[forge::test]
async fn each_time_is_run_once_for_itself(app: TestApp) -> Result<()> {
    app.advance(HOUR).await?;
    app.advance(HOUR).await?;
    app.parts().run_crons().await?;
    app.run_jobs().await?;
    let hourly = runs(&app, "hourly").await;
    assert_eq!(hourly.len(), 2, "{hourly:?}");
    assert!(hourly.iter().all(|(slot, _)| slot.as_second() % 3600 == 0), "{hourly:?}");
    assert_eq!(hourly[1].0.duration_since(hourly[0].0).as_secs(), 3600);
    Ok(())
}

#[forge::test]
async fn what_was_missed_is_made_up_for_if_the_cron_says_so(app: TestApp) -> Result<()> {
    app.advance(26 * HOUR).await?;
    // The newest three that are late, and one that is not if its time has come within the last minute, as may that of the daily one.
    let hourly = runs(&app, "hourly").await;
    assert!((3..=4).contains(&hourly.len()), "{hourly:?}");
    assert!(hourly[0].1 && hourly[0].0 < hourly[1].0 && hourly[1].0 < hourly[2].0, "{hourly:?}");
    assert!(runs(&app, "in_the_morning").await.len() <= 1);
    let sql = app.sql().await?;
    let missed: i64 = sql.query_one("SELECT missed FROM forge_crons WHERE name = 'hourly'", &[]).await.unwrap().get(0);
    assert_eq!(missed + hourly.len() as i64, 26);
    Ok(())
}

#[forge::test]
async fn a_time_zone_is_kept_to(app: TestApp) -> Result<()> {
    // Step by step to the next half past three, and a little beyond.
    app.parts().run_crons().await?;
    let now = app.parts().clock().now().as_second();
    let wait = (3 * 3600 + 1800 - now.rem_euclid(86_400)).rem_euclid(86_400) + 5;
    app.advance(Duration::from_secs(wait as u64)).await?;
    let morning = runs(&app, "in_the_morning").await;
    assert_eq!(morning.len(), 1, "{morning:?}");
    assert_eq!(morning[0].0.as_second().rem_euclid(86_400), 3 * 3600 + 1800);
    assert!(!morning[0].1);
    Ok(())
}

#[forge::test]
async fn one_that_is_paused_does_not_run_but_by_hand(app: TestApp) -> Result<()> {
    app.parts().run_crons().await?;
    app.parts().pause_cron("hourly", true).await?;
    app.advance(5 * HOUR).await?;
    assert_eq!(runs(&app, "hourly").await, []);
    let slot: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    app.parts().run_cron("hourly", Some(slot)).await?;
    app.run_jobs().await?;
    assert_eq!(runs(&app, "hourly").await, [(slot, false)]);
    app.parts().pause_cron("hourly", false).await?;
    app.advance(HOUR).await?;
    assert_eq!(runs(&app, "hourly").await.len(), 2, "what passed while it was paused is not made up for");
    assert_eq!(app.parts().run_cron("nothing", None).await.unwrap_err().code(), "NOT_FOUND");
    Ok(())
}
