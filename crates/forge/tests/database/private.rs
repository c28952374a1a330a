//! `#[private]`: columns that stay on the server.

use forge::prelude::*;
use forge::testing::TestApp;
use serde_json::json;

/// Somebody who may come in.
#[forge::model]
pub struct Account {
    #[id]
    pub id: Uuid,
    #[unique]
    pub name: String,
    /// Nobody's business.
    #[private]
    pub password_hash: Secret,
    #[private]
    #[max_length = 100]
    pub recovery: Option<String>,
    #[private]
    #[column = "failed"]
    pub failed_attempts: i32,
}

#[forge::mutation(public)]
pub async fn open_account(ctx: &MutationContext, name: String) -> Result<Account> {
    let values = [
        Account::NAME.set(name),
        Account::PASSWORD_HASH.set("the hash"),
        Account::RECOVERY.set("the word".to_owned()),
        Account::FAILED_ATTEMPTS.set(3),
    ];
    Account::insert(values).fetch_one(ctx.db()).await
}

#[forge::input]
pub struct Recalled {
    pub hash: String,
    pub recovery: Option<String>,
    pub failed: i32,
    pub shown: bool,
    pub written: Vec<serde_json::Value>,
}

/// What the server sees of it: the whole row, from the builder and from SQL; and what it would write of it.
#[forge::query(public)]
pub async fn recall(ctx: &QueryContext, id: Uuid) -> Result<Recalled> {
    let account = Account::find(id).filter(Account::FAILED_ATTEMPTS.eq(3)).fetch_one(ctx.db()).await?;
    let same = sql!(Account, "SELECT * FROM accounts WHERE id = {id}").fetch_one(ctx.db()).await?;
    let hash = account.password_hash.expose().to_owned();
    assert_eq!(same.password_hash.expose(), hash);
    let mut answer = Vec::new();
    forge::__rt::wire::write_json(&account, &mut answer)?;
    Ok(Recalled {
        hash,
        shown: format!("{account:?}").contains("the hash"),
        written: vec![serde_json::from_slice(&answer)?, serde_json::to_value(&account)?],
        recovery: account.recovery,
        failed: account.failed_attempts,
    })
}

#[forge::query(public)]
pub async fn accounts_by_attempts(ctx: &QueryContext) -> Result<Vec<Account>> {
    let page = Page { limit: 1, cursor: None };
    Ok(Account::query().order_by(Account::FAILED_ATTEMPTS.desc()).paginate(page, ctx.db()).await?.items)
}

#[forge::test]
async fn a_private_column_is_not_in_an_answer(app: TestApp) -> Result<()> {
    let caller = app.anonymous();
    // What has crossed the wire has none of it, but the types' defaults.
    let ada = caller.call(open_account, "ada".to_owned()).await?;
    assert_eq!((ada.password_hash.expose(), ada.recovery, ada.failed_attempts), ("", None, 0));
    let recalled = caller.call(recall, ada.id).await?;
    assert_eq!((recalled.hash.as_str(), recalled.recovery.as_deref(), recalled.failed), ("the hash", Some("the word"), 3));
    assert!(!recalled.shown);
    let public = json!({ "id": ada.id, "name": "ada" });
    assert_eq!(recalled.written, [public.clone(), public]);
    Ok(())
}

#[forge::test]
async fn a_cursor_would_show_it(app: TestApp) {
    let why = app.anonymous().call(accounts_by_attempts, ()).await.unwrap_err();
    assert!(why.message().contains("pages of accounts cannot go by `failed`: it is private"), "{why}");
}

#[test]
fn a_private_column_is_no_part_of_the_type_that_clients_know() {
    let manifest = forge::App::linked(&[]).unwrap().manifest().unwrap();
    let account = manifest.types.iter().find(|ty| ty.name == "Account").unwrap();
    let text = serde_json::to_string(account).unwrap();
    assert!(text.contains("name") && !text.contains("recovery") && !text.contains("assword"), "{text}");
    // The table has it all the same.
    let table = manifest.tables.iter().find(|table| table.model == "Account").unwrap();
    let private: Vec<(&str, bool)> = table.columns.iter().map(|column| (column.name.as_str(), column.private)).collect();
    assert_eq!(private, [("id", false), ("name", false), ("password_hash", true), ("recovery", true), ("failed", true)]);
    assert_eq!(table.columns[3].sql_type.to_string(), "varchar(100)");
}
