//! Pages by key, and the cursors that lead from one to the next.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use forge::prelude::*;
use forge::testing::TestApp;

use super::Setting;

/// A page as its reader sees it.
#[forge::input]
pub struct Shown {
    pub themes: Vec<String>,
    pub next: Option<String>,
}

#[forge::mutation(public)]
pub async fn add_visits(ctx: &MutationContext, visits: Vec<i64>) -> Result<()> {
    for visits in visits {
        let values = [Setting::THEME.set(format!("theme {visits}")), Setting::VISITS.set(visits)];
        Setting::insert(values).fetch_one(ctx.db()).await?;
    }
    Ok(())
}

#[forge::query(public)]
pub async fn by_visits(ctx: &QueryContext, down: bool, cursor: Option<String>) -> Result<Shown> {
    let order = if down { Setting::VISITS.desc() } else { Setting::VISITS.asc() };
    let page = Setting::query().order_by(order).paginate(Page { limit: 2, cursor }, ctx.db()).await?;
    Ok(Shown { themes: page.items.into_iter().map(|setting| setting.theme).collect(), next: page.next_cursor })
}

#[forge::test]
async fn a_list_is_gone_through_page_by_page(app: TestApp) -> Result<()> {
    let caller = app.anonymous();
    caller.call(add_visits, vec![3, 1, 2, 2, 5]).await?;
    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let page = caller.call(by_visits, ByVisits { down: true, cursor }).await?;
        seen.extend(page.themes);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["theme 5", "theme 3", "theme 2", "theme 2", "theme 1"]);
    Ok(())
}

#[forge::test]
async fn a_cursor_of_another_list_is_refused(app: TestApp) -> Result<()> {
    let caller = app.anonymous();
    caller.call(add_visits, vec![1, 2, 3]).await?;
    let down = caller.call(by_visits, ByVisits { down: true, cursor: None }).await?.next.unwrap();
    let encode = |text: String| URL_SAFE_NO_PAD.encode(text);
    let list = String::from_utf8(URL_SAFE_NO_PAD.decode(&down).unwrap()).unwrap();
    let name = list.split('"').nth(1).unwrap();
    let made_up = [
        ("of the other direction", down.clone()),
        ("no cursor", "x".into()),
        ("no list", encode(r#"["2"]"#.into())),
        ("no key", encode(format!(r#"["{name}", []]"#))),
        ("no number, no id", encode(format!(r#"["{name}", ["x", "y"]]"#))),
        ("no id", encode(format!(r#"["{name}", ["2", "y"]]"#))),
        ("too large a number", encode(format!(r#"["{name}", ["{}", "y"]]"#, "9".repeat(40)))),
    ];
    for (what, cursor) in made_up {
        let down = what != "of the other direction";
        let why = caller.call(by_visits, ByVisits { down, cursor: Some(cursor) }).await.unwrap_err();
        assert_eq!(
            (why.code(), why.message()),
            ("INVALID_ARGUMENT", "the cursor is not one of this list; start again without one"),
            "{what}"
        );
    }
    Ok(())
}
