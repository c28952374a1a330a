//! `fetch`: rows as they come.

use std::time::Duration;

use forge::prelude::*;
use forge::testing::TestApp;
use forge::{ErrorKind, Rows, WriteDb};
use futures_util::{StreamExt as _, TryStreamExt as _};

use crate::Setting;

/// What other sessions of this database do, as `state, application_name, query`, beside the one that asks.
type Sessions = Vec<(String, String, String)>;

async fn sessions(db: &forge::Db) -> Result<Sessions> {
    sql!(
        (String, String, String),
        "SELECT state, application_name, query FROM pg_stat_activity
          WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid() AND state <> 'idle'"
    )
    .fetch_all(db)
    .await
}

/// Waits until nothing runs any more, and no transaction is open.
async fn all_quiet(app: &TestApp) {
    let text = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() \
                AND backend_type = 'client backend' AND state <> 'idle'";
    let client = app.sql().await.unwrap();
    let quiet = async {
        let lent = || app.parts().database.health().active;
        while client.query_one(text, &[]).await.unwrap().get::<_, i64>(0) > 0 || lent() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), quiet).await.unwrap_or_else(|_| panic!("something goes on running"));
}

/// Bytes of memory that the process has in use.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[forge::query(public)]
pub async fn a_million(ctx: &QueryContext) -> Result<(i64, u64)> {
    let mut rows =
        sql!((i64, String), "SELECT n, repeat('x', 500) FROM generate_series(1::int8, 1000000) n").fetch(ctx.db());
    let before = resident();
    let (mut sum, mut most) = (0, 0);
    while let Some((n, text)) = rows.try_next().await? {
        assert_eq!(text.len(), 500);
        sum += n;
        if n % 10_000 == 0 {
            most = most.max(resident().saturating_sub(before) as u64);
        }
    }
    assert!(rows.try_next().await?.is_none(), "it stays at its end");
    Ok((sum, most))
}

#[forge::test]
async fn a_million_rows_take_no_more_memory_than_a_few(app: TestApp) -> Result<()> {
    let (sum, most) = app.anonymous().call(a_million, ()).await?;
    assert_eq!(sum, 500_000_500_000);
    // As a whole they are 600 MB and more. Other tests need memory meanwhile.
    assert!(most < 128 * 1024 * 1024, "it took {most} bytes");
    all_quiet(&app).await;
    Ok(())
}

#[forge::query(public)]
pub async fn a_few(ctx: &QueryContext, of: i64) -> Result<(Vec<i64>, Sessions)> {
    let rows = sql!(i64, "SELECT generate_series(1::int8, {of: i64})").fetch(ctx.db());
    let few: Vec<i64> = rows.take(3).try_collect().await?;
    let mut rows = sql!(i64, "SELECT generate_series(1::int8, {of: i64})").fetch(ctx.db());
    rows.try_next().await?;
    // Slow to read: meanwhile nothing runs.
    let sessions = sessions(ctx.db()).await?;
    drop(rows);
    Ok((few, sessions))
}

#[forge::test]
async fn nothing_is_fetched_before_it_is_asked_for(app: TestApp) -> Result<()> {
    // As a whole it would take minutes.
    let (few, sessions) = app.anonymous().call(a_few, 1_000_000_000).await?;
    assert_eq!(few, [1, 2, 3]);
    let [(state, application, query)] = sessions.try_into().unwrap();
    assert_eq!((state.as_str(), query.starts_with("FETCH")), ("idle in transaction", true), "{query}");
    assert!(application.ends_with("main"), "not on a shared connection: {application}");
    all_quiet(&app).await;
    // Once measured as short, it would be read on a shared connection.
    for _ in 0..3 {
        let (_, sessions) = app.anonymous().call(a_few, 3).await?;
        assert_eq!(sessions, [], "a result that fits in a batch has ended by then");
    }
    let (_, sessions) = app.anonymous().call(a_few, 1000).await?;
    assert!(sessions.iter().all(|(_, application, _)| application.ends_with("main")), "{sessions:?}");
    Ok(())
}

fn slow(db: &forge::Db) -> Rows<'_, i64> {
    sql!(i64, "SELECT n FROM generate_series(1::int8, 1000) n WHERE n < 65 OR pg_sleep(60) IS NOT NULL").fetch(db)
}

#[forge::query(public)]
pub async fn gives_up(ctx: &QueryContext) -> Result<usize> {
    let mut rows = slow(ctx.db());
    let mut read = 0;
    while let Ok(row) = tokio::time::timeout(Duration::from_millis(300), rows.try_next()).await {
        read += usize::from(row?.is_some());
    }
    Ok(read)
}

#[forge::query(public, timeout = "300ms")]
pub async fn runs_out_of_time(ctx: &QueryContext) -> Result<Vec<i64>> {
    slow(ctx.db()).try_collect().await
}

#[forge::mutation(public, timeout = "300ms")]
pub async fn runs_out_of_time_writing(ctx: &MutationContext) -> Result<Vec<i64>> {
    slow(ctx.db()).try_collect().await
}

#[forge::test]
async fn a_stream_that_is_given_up_leaves_nothing_running(app: TestApp) -> Result<()> {
    let caller = app.anonymous();
    assert_eq!(caller.call(gives_up, ()).await?, 64);
    all_quiet(&app).await;
    assert_eq!(caller.call(runs_out_of_time, ()).await.unwrap_err().kind(), ErrorKind::Timeout);
    all_quiet(&app).await;
    assert_eq!(caller.call(runs_out_of_time_writing, ()).await.unwrap_err().kind(), ErrorKind::Timeout);
    all_quiet(&app).await;
    Ok(())
}

#[forge::query(public)]
pub async fn does_not_fit(ctx: &QueryContext) -> Result<(Vec<i64>, String, bool)> {
    let mut rows = sql!(i64, "SELECT nullif(n, 3) FROM generate_series(1::int8, 100000) n").fetch(ctx.db());
    let mut read = Vec::new();
    let why = loop {
        match rows.try_next().await {
            Ok(Some(n)) => read.push(n),
            Ok(None) => return Err(Error::internal("a NULL was read as a number")),
            Err(why) => break why,
        }
    };
    Ok((read, why.to_string(), rows.try_next().await?.is_none()))
}

#[forge::test]
async fn a_row_that_does_not_fit_ends_the_stream(app: TestApp) -> Result<()> {
    let (read, why, ended) = app.anonymous().call(does_not_fit, ()).await?;
    assert_eq!(read, [1, 2]);
    assert!(why.contains("does not fit `i64`"), "{why}");
    assert!(ended);
    all_quiet(&app).await;
    Ok(())
}

async fn fill(db: &WriteDb, rows: i64) -> Result<()> {
    sql!("INSERT INTO settings (id, visits) SELECT gen_random_uuid(), n FROM generate_series(1::int8, {rows: i64}) n")
        .execute(db)
        .await?;
    Ok(())
}

#[forge::mutation(public)]
pub async fn doubles(ctx: &MutationContext) -> Result<(i64, i64)> {
    fill(ctx.db(), 500).await?;
    // It sees what the mutation wrote, and the loop writes to the same table through the same transaction.
    let mut settings = Setting::query().order_by(Setting::VISITS.asc()).fetch(ctx.db());
    let mut last = 0;
    while let Some(setting) = settings.try_next().await? {
        assert_eq!(setting.visits, last + 1);
        last = setting.visits;
        Setting::update(setting.id).set(Setting::VISITS.set(setting.visits * 2)).execute(ctx.db()).await?;
    }
    let sum = sql!(i64, "SELECT sum(visits)::int8 FROM settings").fetch_one(ctx.db()).await?;
    Ok((last, sum))
}

#[forge::mutation(public)]
pub async fn streams_side_by_side(ctx: &MutationContext) -> Result<i64> {
    fill(ctx.db(), 300).await?;
    let mut sum = 0;
    for _ in 0..20 {
        let mut up = Setting::query().order_by(Setting::VISITS.asc()).fetch(ctx.db());
        let mut down = Setting::query().order_by(Setting::VISITS.desc()).fetch(ctx.db());
        for _ in 0..100 {
            let (up, down) = (up.try_next().await?, down.try_next().await?);
            sum += up.map_or(0, |setting| setting.visits) + down.map_or(0, |setting| setting.visits);
        }
        // Both are dropped half way; the next two have their names.
    }
    let open = sql!(i64, "SELECT count(*) FROM pg_cursors WHERE name LIKE 'forge_%'").fetch_one(ctx.db()).await?;
    assert_eq!(open, 0);
    Ok(sum)
}

#[forge::mutation(public)]
pub async fn drops_one_and_fails(ctx: &MutationContext) -> Result<()> {
    Setting::query().fetch(ctx.db()).try_next().await?;
    let mut open = Setting::query().fetch(ctx.db());
    open.try_next().await?;
    let _: Option<i64> = Err(Error::conflict("on purpose"))?;
    drop(open);
    Ok(())
}

#[forge::mutation(public)]
pub async fn goes_on_after_a_failure_inside(ctx: &MutationContext) -> Result<i64> {
    fill(ctx.db(), 200).await?;
    let mut outer = Setting::query().order_by(Setting::VISITS.asc()).fetch(ctx.db());
    outer.try_next().await?;
    assert_eq!(ctx.mutate(drops_one_and_fails, ()).await.unwrap_err().message(), "on purpose");
    let mut last = 0;
    while let Some(setting) = outer.try_next().await? {
        last = setting.visits;
    }
    Ok(last + i64::try_from(Setting::query().fetch(ctx.db()).count().await)?)
}

#[forge::test]
async fn in_a_mutation_a_stream_is_part_of_the_transaction(app: TestApp) -> Result<()> {
    let caller = app.anonymous();
    assert_eq!(caller.call(doubles, ()).await?, (500, 500 * 501));
    app.sql().await?.batch_execute("DELETE FROM settings").await.unwrap();
    assert_eq!(caller.call(streams_side_by_side, ()).await?, 20 * 100 * 301);
    app.sql().await?.batch_execute("DELETE FROM settings").await.unwrap();
    assert_eq!(caller.call(goes_on_after_a_failure_inside, ()).await?, 400);
    all_quiet(&app).await;
    Ok(())
}

#[forge::mutation(public)]
pub async fn reads_ahead(ctx: &MutationContext) -> Result<Vec<i64>> {
    let mut rows = sql!(i64, "SELECT nextval('produced') FROM generate_series(1, 100000)").fetch(ctx.db());
    let mut produced = Vec::new();
    for read in 1..=65 {
        rows.try_next().await?;
        if read == 1 || read > 63 {
            produced.push(sql!(i64, "SELECT last_value FROM produced").fetch_one(ctx.db()).await?);
        }
    }
    Ok(produced)
}

#[forge::test]
async fn the_server_makes_a_batch_when_the_last_one_is_read(app: TestApp) -> Result<()> {
    let produced = app.anonymous().call(reads_ahead, ()).await?;
    assert_eq!(produced[..2], [64, 64]);
    assert!(produced[2] > 64 && produced[2] <= 64 + 4096, "{produced:?}");
    Ok(())
}

#[forge::mutation(public)]
pub async fn streams_a_write(ctx: &MutationContext) -> Result<usize> {
    let rows: Vec<i64> = sql!(i64, "UPDATE settings SET visits = 1 RETURNING visits").fetch(ctx.db()).try_collect().await?;
    Ok(rows.len())
}

#[forge::query(public)]
pub async fn streams_a_mistake(ctx: &QueryContext, zero: i32) -> Result<i32> {
    let mut rows = sql!(i32, "SELECT 1 / ({zero: i32} * n) FROM generate_series(1, 3) n").fetch(ctx.db());
    Ok(rows.try_next().await?.unwrap_or_default())
}

#[forge::test]
async fn what_cannot_be_streamed_says_so(app: TestApp) {
    let caller = app.anonymous();
    let why = caller.call(streams_a_write, ()).await.unwrap_err();
    assert!(why.message().contains("only what a SELECT returns can be streamed; use fetch_all"), "{why}");
    let why = caller.call(streams_a_mistake, 0).await.unwrap_err();
    assert!(why.message().contains("division by zero"), "{why}");
    all_quiet(&app).await;
}

#[forge::query(public)]
pub async fn streams_settings(ctx: &QueryContext) -> Result<Vec<Setting>> {
    sql!(Setting, "SELECT * FROM settings").fetch(ctx.db()).try_collect().await
}

#[forge::test]
async fn a_table_may_change_between_two_streams(app: TestApp) -> Result<()> {
    let client = app.sql().await?;
    client.batch_execute("INSERT INTO settings (id, note) VALUES (gen_random_uuid(), 'kept')").await.unwrap();
    let changes = [
        "SELECT 1",
        "ALTER TABLE settings ADD COLUMN colour text DEFAULT 'red'",
        "ALTER TABLE settings DROP COLUMN note; ALTER TABLE settings ADD COLUMN note text DEFAULT 'new'",
        "ALTER TABLE settings ALTER COLUMN theme TYPE varchar(10)",
    ];
    for (change, note) in changes.into_iter().zip(["kept", "kept", "new", "new"]) {
        client.batch_execute(change).await.unwrap();
        let [setting] = app.anonymous().call(streams_settings, ()).await?.try_into().unwrap();
        assert_eq!((setting.note.as_deref(), setting.theme.as_str()), (Some(note), "light"), "{change}");
    }
    all_quiet(&app).await;
    Ok(())
}
