//! A model with private columns is no argument. The only function of this program takes one all the same.

// Items are `pub` as in an app, where others could reach them.
#![allow(unreachable_pub, missing_docs)]
// A panic in a test is its report.
#![allow(clippy::unwrap_used)]

use forge::prelude::*;

#[forge::model]
pub struct Account {
    #[id]
    pub id: Uuid,
    pub name: String,
    #[private]
    pub hash: String,
}

#[forge::mutation]
pub async fn put_accounts(ctx: &MutationContext, accounts: Vec<Account>) -> Result<()> {
    for account in accounts {
        Account::upsert(account).execute(ctx.db()).await?;
    }
    Ok(())
}

#[test]
fn an_app_that_would_take_what_clients_cannot_send_does_not_start() {
    let why = forge::App::linked(&[]).unwrap_err();
    assert_eq!(why.code(), "PRIVATE_ARGUMENT");
    assert!(why.message().contains("the function `put_accounts` ("), "{why}");
    assert!(why.message().contains("(`PutAccounts.accounts`)"), "{why}");
}
