//! `Model::upsert`.

use forge::prelude::*;
use forge::testing::TestApp;

use crate::Setting;

#[forge::mutation(public)]
pub async fn choose_theme(ctx: &MutationContext, owner: Option<String>, theme: String) -> Result<Setting> {
    let values = [Setting::OWNER.set(owner), Setting::THEME.set(theme)];
    Setting::upsert(values).on(Setting::OWNER).fetch_one(ctx.db()).await
}

#[forge::mutation(public)]
pub async fn choose_once(ctx: &MutationContext, owner: String, theme: String) -> Result<Setting> {
    let key = Setting::OWNER.set(Some(owner));
    Setting::upsert([key]).set(Setting::THEME.set(theme)).on(Setting::OWNER).keep(Setting::THEME).fetch_one(ctx.db()).await
}

#[forge::mutation(public)]
pub async fn note_visits(ctx: &MutationContext, id: Uuid, visits: i64) -> Result<()> {
    Setting::upsert([Setting::ID.set(id), Setting::VISITS.set(visits)]).execute(ctx.db()).await
}

#[forge::mutation(public)]
pub async fn put_setting(ctx: &MutationContext, setting: Setting) -> Result<Setting> {
    Setting::upsert(setting).keep(Setting::CREATED_AT).fetch_one(ctx.db()).await
}

#[forge::mutation(public)]
pub async fn without_its_key(ctx: &MutationContext, by_owner: bool) -> Result<()> {
    let upsert = Setting::upsert([Setting::VISITS.set(1)]);
    if by_owner { upsert.on(Setting::OWNER).execute(ctx.db()).await } else { upsert.execute(ctx.db()).await }
}

#[forge::mutation(public)]
pub async fn by_what_is_no_key(ctx: &MutationContext) -> Result<()> {
    Setting::upsert([Setting::NOTE.set(Some("x".to_owned()))]).on(Setting::NOTE).execute(ctx.db()).await
}

#[forge::query(public)]
pub async fn all_settings(ctx: &QueryContext) -> Result<Vec<Setting>> {
    Setting::query().order_by(Setting::CREATED_AT.asc()).fetch_all(ctx.db()).await
}

fn ada(theme: &str) -> ChooseTheme {
    ChooseTheme { owner: Some("ada".into()), theme: theme.into() }
}

#[forge::test]
async fn the_row_with_the_key_is_made_once_and_changed_after(app: TestApp) -> Result<()> {
    let caller = app.anonymous();
    let made = caller.call(choose_theme, ada("dark")).await?;
    assert_eq!((made.owner.as_deref(), made.theme.as_str(), made.visits), (Some("ada"), "dark", 0));
    let changed = caller.call(choose_theme, ada("blue")).await?;
    assert_eq!((changed.id, changed.theme.as_str(), changed.created_at), (made.id, "blue", made.created_at));
    assert!(changed.updated_at > made.updated_at, "an upsert that changes touches the row as an update does");
    // NULL equals nothing: each is a row of its own.
    for _ in 0..2 {
        caller.call(choose_theme, ChooseTheme { owner: None, theme: "dark".into() }).await?;
    }
    assert_eq!(caller.call(all_settings, ()).await?.len(), 3);
    Ok(())
}

#[forge::test]
async fn what_is_to_be_kept_serves_new_rows_only(app: TestApp) -> Result<()> {
    let caller = app.anonymous();
    let once = |theme: &str| ChooseOnce { owner: "ada".into(), theme: theme.into() };
    assert_eq!(caller.call(choose_once, once("dark")).await?.theme, "dark");
    assert_eq!(caller.call(choose_once, once("blue")).await?.theme, "dark");
    Ok(())
}

#[forge::test]
async fn the_primary_key_is_the_key_when_no_other_is_named(app: TestApp) -> Result<()> {
    let caller = app.anonymous();
    let id = forge::new_uuid();
    for visits in [1, 2] {
        caller.call(note_visits, NoteVisits { id, visits }).await?;
    }
    let found = caller.call(all_settings, ()).await?;
    assert_eq!(found.iter().map(|setting| (setting.id, setting.visits)).collect::<Vec<_>>(), [(id, 2)]);
    // A whole model brings its id; nobody else has it.
    let [before] = found.try_into().unwrap();
    let put = caller.call(put_setting, Setting { visits: 7, created_at: Timestamp::UNIX_EPOCH, ..before.clone() }).await?;
    assert_eq!((put.id, put.visits, put.created_at), (id, 7, before.created_at));
    let other = caller.call(put_setting, Setting { id: forge::new_uuid(), ..before }).await?;
    assert_eq!(caller.call(all_settings, ()).await?.len(), 2);
    assert_ne!(other.id, id);
    Ok(())
}

#[forge::test]
async fn many_at_once_end_with_one_row_and_no_error(app: TestApp) -> Result<()> {
    let caller = app.anonymous();
    let themes: Vec<String> = (0..16).map(|n| format!("theme {n}")).collect();
    let calls = themes.iter().map(|theme| caller.call(choose_theme, ada(theme)));
    let answers = futures_util::future::try_join_all(calls).await?;
    assert!(answers.iter().all(|answer| answer.id == answers[0].id), "{answers:?}");
    for (answer, theme) in answers.iter().zip(&themes) {
        assert_eq!(answer.theme, *theme, "each is answered with what it wrote");
    }
    let [last] = caller.call(all_settings, ()).await?.try_into().unwrap();
    assert!(themes.contains(&last.theme));
    Ok(())
}

#[forge::test]
async fn mistakes_say_what_is_missing(app: TestApp) {
    let caller = app.anonymous();
    let by_id = caller.call(without_its_key, WithoutItsKey { by_owner: false }).await.unwrap_err();
    assert!(by_id.message().contains("goes by `id`, but gives it no value"), "{by_id}");
    assert!(by_id.message().contains(".on(..)"), "{by_id}");
    let by_owner = caller.call(without_its_key, WithoutItsKey { by_owner: true }).await.unwrap_err();
    assert!(by_owner.message().contains("set `owner`"), "{by_owner}");
    // An app does not start like this; somebody has changed the database since.
    app.sql().await.unwrap().batch_execute("ALTER TABLE settings DROP CONSTRAINT settings_note_key").await.unwrap();
    let no_key = caller.call(by_what_is_no_key, ()).await.unwrap_err();
    assert!(no_key.message().contains("no unique key in the database"), "{no_key}");
    assert_eq!(no_key.code(), "DATABASE_ERROR");
}
