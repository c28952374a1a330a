//! Digests come at eight in the morning, wherever that is, once a day, and only to who wants one.

use std::time::Duration;

use board::cards::{CardChange, Priority, update_card};
use board::digests::{DigestSettings, SendDigest, digest_sent, get_digest_settings, set_digest_settings};
use forge::Result;
use forge::prelude::*;
use forge::testing::TestApp;
use jiff::tz::TimeZone;

use crate::people::{Person, board_of, card, person, refused};

/// Somebody who wants a digest and has a card that is overdue.
async fn reader(app: &TestApp, name: &str, time_zone: &str) -> Result<Person> {
    let reader = person(app, name).await?;
    let settings = DigestSettings { enabled: true, time_zone: time_zone.into() };
    reader.calls.call(set_digest_settings, settings).await?;
    let board = board_of(&reader).await?;
    let card = card(&reader, board.columns[0].id, &format!("{name}'s <card>")).await?;
    let change = CardChange {
        id: card.id,
        title: card.title,
        description: String::new(),
        priority: Priority::Normal,
        due: Some(Timestamp::now() - Duration::from_secs(3600)),
        estimate: None,
        assignee_id: Some(reader.id),
    };
    reader.calls.call(update_card, change).await?;
    Ok(reader)
}

/// How long it is from now, as the app has it, until a time of day in a time zone.
fn until(app: &TestApp, zone: &str, hour: i8, minute: i8) -> Result<Duration> {
    let now = app.parts().clock().now().to_zoned(TimeZone::get(zone).context("a zone")?);
    let today = now.date().at(hour, minute, 30, 0).to_zoned(now.time_zone().clone()).context("a time")?;
    let then = if today > now { today } else { today.checked_add(jiff::Span::new().days(1)).context("a day")? };
    Duration::try_from(then.timestamp().duration_since(now.timestamp())).context("ahead")
}

#[forge::test]
async fn each_gets_theirs_in_their_own_morning_and_once(app: TestApp) -> Result<()> {
    // Three hours and a half apart all the year round.
    let colombo = reader(&app, "Kumari", "Asia/Colombo").await?;
    reader(&app, "Aiko", "Asia/Tokyo").await?;
    let off = person(&app, "Otto").await?;
    let settings = DigestSettings { enabled: false, time_zone: "Asia/Colombo".into() };
    off.calls.call(set_digest_settings, settings).await?;

    let to = |name: &str| app.mails().iter().filter(|mail| mail.to[0].starts_with(name)).count();
    app.advance(until(&app, "Asia/Colombo", 7, 50)?).await?;
    let before = to("Kumari");
    app.advance(Duration::from_secs(15 * 60)).await?;
    assert_eq!(to("Kumari"), before + 1, "{:?}", app.mails());
    let mails = app.mails();
    let mail = mails.iter().rfind(|mail| mail.to[0].starts_with("Kumari")).unwrap_or_else(|| panic!("{mails:?}"));
    assert_eq!(mail.to, [format!("Kumari <{}>", colombo.email)]);
    assert_eq!(mail.subject, "1 card is due today");
    assert!(mail.text.contains("Kumari's <card> (Plans)"), "{}", mail.text);
    assert!(mail.html.as_deref().is_some_and(|html| html.contains("Kumari's &lt;card&gt;")), "{mail:?}");
    // The other quarters of the hour, and the cron once more, send nothing again.
    app.advance(Duration::from_secs(40 * 60)).await?;
    assert_eq!(to("Kumari"), before + 1);
    // It is morning in Tokyo while it is night in Colombo.
    let tokyo = to("Aiko");
    app.advance(until(&app, "Asia/Tokyo", 8, 5)?).await?;
    assert_eq!((to("Aiko"), to("Kumari")), (tokyo + 1, before + 1));
    // The next morning brings the next one.
    app.advance(until(&app, "Asia/Colombo", 8, 5)?).await?;
    assert_eq!((to("Kumari"), to("Otto")), (before + 2, 0));
    Ok(())
}

#[forge::test]
async fn one_that_could_not_be_sent_at_eight_is_sent_later_that_morning(app: TestApp) -> Result<()> {
    reader(&app, "Kumari", "Asia/Colombo").await?;
    let count = || app.mails().len();
    app.advance(until(&app, "Asia/Colombo", 7, 50)?).await?;
    let before = count();
    // Nothing of it ran until five past ten.
    app.advance(Duration::from_secs(135 * 60)).await?;
    assert_eq!(count(), before + 1, "{:?}", app.mails());
    app.advance(Duration::from_secs(15 * 60)).await?;
    assert_eq!(count(), before + 1, "once");
    Ok(())
}

#[forge::test]
async fn one_that_is_refused_is_not_tried_again_that_day(app: TestApp) -> Result<()> {
    let kumari = reader(&app, "Kumari", "Asia/Colombo").await?;
    let sql = app.sql().await?;
    sql.execute("UPDATE users SET email = 'nowhere' WHERE id = $1", &[&kumari.id]).await.context("a bad address")?;
    app.advance(until(&app, "Asia/Colombo", 7, 50)?).await?;
    let text = "SELECT count(*) FROM forge_jobs_dead WHERE kind = 'send_digest'";
    let dead = async || Ok::<i64, Error>(sql.query_one(text, &[]).await.context("looking")?.get(0));
    let before = dead().await?;
    app.advance(Duration::from_secs(45 * 60)).await?;
    assert_eq!(dead().await?, before + 1);
    Ok(())
}

#[forge::test]
async fn who_asks_for_one_after_eight_has_the_first_tomorrow(app: TestApp) -> Result<()> {
    // Wherever it is after nine now; the names of these zones have the sign the other way round.
    let ahead = 9 - Timestamp::now().to_zoned(TimeZone::UTC).hour();
    let zone = format!("Etc/GMT{:+}", -if ahead < -12 { ahead + 24 } else { ahead });
    reader(&app, "Kumari", &zone).await?;
    app.advance(Duration::from_secs(30 * 60)).await?;
    assert!(app.mails().is_empty(), "{:?}", app.mails());
    app.advance(until(&app, &zone, 8, 5)?).await?;
    assert_eq!(app.mails().len(), 1, "{:?}", app.mails());
    Ok(())
}

#[forge::test]
async fn the_settings_are_ones_own_and_name_a_time_zone(app: TestApp) -> Result<()> {
    let ada = person(&app, "Ada").await?;
    assert!(ada.calls.call(get_digest_settings, ()).await?.is_none());
    let of = |time_zone: &str| DigestSettings { enabled: true, time_zone: time_zone.into() };
    let stored = ada.calls.call(set_digest_settings, of("Europe/Berlin")).await?;
    assert_eq!(stored.time_zone, "Europe/Berlin");
    refused(ada.calls.call(set_digest_settings, of("Europe/Atlantis")).await, "NO_SUCH_TIME_ZONE");
    refused(ada.calls.call(set_digest_settings, of("")).await, "VALIDATION_ERROR");
    let shown = ada.calls.call(get_digest_settings, ()).await?.unwrap_or_else(|| panic!("there are settings"));
    assert_eq!((shown.enabled, shown.time_zone.as_str()), (true, "Europe/Berlin"));
    let eve = person(&app, "Eve").await?;
    assert!(eve.calls.call(get_digest_settings, ()).await?.is_none());
    // Only the app itself says that one was sent.
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    refused(ada.calls.call(digest_sent, (ada.id, today)).await, "FORBIDDEN");
    Ok(())
}

#[forge::test]
async fn without_a_due_card_there_is_no_mail(app: TestApp) -> Result<()> {
    let ada = person(&app, "Ada").await?;
    let settings = DigestSettings { enabled: true, time_zone: "UTC".into() };
    ada.calls.call(set_digest_settings, settings).await?;
    app.advance(until(&app, "UTC", 8, 5)?).await?;
    assert!(app.mails().is_empty());
    let day: Option<Date> = app
        .sql()
        .await?
        .query_one("SELECT last_day FROM digests WHERE user_id = $1", &[&ada.id])
        .await
        .context("looking")?
        .get(0);
    assert!(day.is_some(), "it was looked at, and that is enough for today");
    let waiting = app.parts().waiting_jobs::<SendDigest>().await?;
    assert!(waiting.is_empty());
    Ok(())
}
