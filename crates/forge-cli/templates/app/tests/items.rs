//! Each test has an app and a database of its own.

use __CRATE__::{NewItem, add_item, list_items};
use forge::prelude::*;
use forge::testing::TestApp;

#[forge::test]
async fn an_added_item_is_listed(app: TestApp) -> Result<()> {
    let anybody = app.anonymous();
    let added = anybody.call(add_item, NewItem { title: "Milk".into() }).await?;
    let items = anybody.call(list_items, ()).await?;
    assert_eq!(items.len(), 1);
    assert_eq!((items[0].id, items[0].title.as_str()), (added.id, "Milk"));
    Ok(())
}

#[forge::test]
async fn what_one_adds_another_sees(app: TestApp) -> Result<()> {
    let mut items = app.anonymous().subscribe(list_items, ()).await?;
    assert!(items.next().await?.is_empty());
    app.anonymous().call(add_item, NewItem { title: "Milk".into() }).await?;
    assert_eq!(items.next().await?[0].title, "Milk");
    Ok(())
}

#[forge::test]
async fn an_item_needs_a_title(app: TestApp) {
    let refused = app.anonymous().call(add_item, NewItem { title: String::new() }).await.unwrap_err();
    assert_eq!(refused.code(), "VALIDATION_ERROR");
}
