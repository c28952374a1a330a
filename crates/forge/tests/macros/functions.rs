use std::time::Duration;

use forge::__rt::{Access, Function, FunctionKind, Isolation};
use forge::prelude::*;
use serde_json::json;

use crate::{described, read, refused, written};

/// Adds two numbers.
///
/// Both are counted.
#[forge::query(timeout = "1m30s", public)]
#[allow(clippy::unused_async)]
pub async fn add_up(
    _ctx: &QueryContext,
    /// The first.
    first: i64,
    second: Option<i64>,
    #[validate(length(max = 3))] mut words: Vec<String>,
) -> Result<i64> {
    words.clear();
    Ok(first + second.unwrap_or_default())
}

#[forge::query]
#[role = ["editor", "admin"]]
#[timeout = "250ms"]
#[snapshot]
async fn one_argument(_ctx: &QueryContext, #[validate(range(min = 1))] card_id: i32) -> Result<Vec<i32>> {
    Ok(vec![card_id])
}

#[forge::query(name = "ping")]
async fn nothing_at_all(_ctx: &QueryContext) -> Result<(), forge::Error> {
    Ok(())
}

#[forge::input]
pub struct NewNote {
    #[validate(length(min = 1))]
    text: String,
}

#[forge::mutation(role = "editor", isolation = "read_committed")]
pub async fn add_note(_ctx: &MutationContext, input: NewNote) -> Result<String> {
    Ok(input.text)
}

#[forge::input]
pub struct Rename {
    pub name: String,
}

#[forge::mutation]
pub async fn rename(_ctx: &MutationContext, input: Rename) -> Result<String> {
    Ok(input.name)
}

/// Counts down by calling itself: inside of a function its name is the function.
#[forge::action]
pub async fn countdown(ctx: &ActionContext, from: u32) -> Result<u32> {
    if from == 0 { Ok(0) } else { Ok(1 + Box::pin(countdown(ctx, from - 1)).await?) }
}

mod deeper {
    use super::*;

    // A path that begins with `super`, an argument called like a type of ours, a raw name.
    #[forge::query]
    pub(crate) async fn scoped(ctx: &super::QueryContext, r#type: String, args: i32) -> super::Result<super::NewNote> {
        let _ = ctx;
        Ok(NewNote { text: format!("{type} {args}", r#type = r#type) })
    }
}

macro_rules! made_by_a_macro {
    ($one:ident, $two:ident, $ty:ty, $doc:literal) => {
        #[forge::query]
        pub async fn $one(_ctx: &QueryContext, #[validate(length(max = 3))] id: $ty) -> Result<$ty> {
            Ok(id)
        }

        #[doc = $doc]
        #[forge::query]
        pub async fn $two(_ctx: &QueryContext, id: $ty, #[validate(range(max = 3))] number: u32) -> Result<$ty> {
            let _ = number;
            Ok(id)
        }
    };
}
made_by_a_macro!(from_a_macro, from_a_macro_too, Option<Vec<i32>>, "Made.");

#[test]
fn what_a_function_says_about_itself() {
    let info = add_up::INFO;
    assert_eq!((info.name, info.kind, info.access), ("add_up", FunctionKind::Query, Access::Public));
    assert_eq!(info.doc, "Adds two numbers.\n\nBoth are counted.");
    assert_eq!(info.timeout, Some(Duration::from_secs(90)));
    assert!(info.file.ends_with("functions.rs") && info.line > 10);
    assert!(info.module.ends_with("functions"));
    assert!(!info.snapshot);

    let info = one_argument::INFO;
    assert_eq!(info.access, Access::AnyRole(&["editor", "admin"]));
    assert_eq!(info.timeout, Some(Duration::from_millis(250)));
    assert!(info.snapshot);

    let info = nothing_at_all::INFO;
    assert_eq!((info.name, info.access, info.timeout), ("ping", Access::SignedIn, None));

    let info = add_note::INFO;
    assert_eq!((info.kind, info.isolation), (FunctionKind::Mutation, Isolation::ReadCommitted));
    assert_eq!(rename::INFO.isolation, Isolation::Serializable);
    assert_eq!(countdown::INFO.kind, FunctionKind::Action);
}

#[test]
fn parameters_are_the_fields_of_the_arguments() {
    let args = AddUp { first: 1, second: None, words: vec![] };
    assert_eq!(written(&args), json!({ "first": "1", "second": null, "words": [] }));
    let args: AddUp = read(json!({ "first": 2, "words": ["a"] }));
    assert_eq!((args.first, args.second), (2, None));
    assert!(refused::<AddUp>(json!({ "first": 2, "words": [], "third": 3 })).contains("unknown field `third`"));
    assert!(refused::<AddUp>(json!({ "first": 2 })).contains("missing field `words`"));
    assert!(refused::<AddUp>(json!({ "first": 2, "words": ["", "", "", ""] })).contains("words"));
    assert_eq!(AddUp::from((1, Some(2), vec![])).second, Some(2));
    assert_eq!(
        described::<AddUp>()["types"][0]["shape"]["fields"],
        json!([
            { "name": "first", "type": { "kind": "int64" }, "doc": "The first." },
            { "name": "second", "type": { "kind": "option", "of": { "kind": "int64" } }, "optional": true },
            {
                "name": "words",
                "type": { "kind": "list", "of": { "kind": "string" } },
                "rules": [{ "rule": "length", "max": 3 }],
            },
        ])
    );
}

#[test]
fn one_parameter_is_an_object_with_one_field() {
    assert_eq!(written(&OneArgument { card_id: 7 }), json!({ "cardId": 7 }));
    assert_eq!(read::<OneArgument>(json!({ "cardId": 7 })).card_id, 7);
    assert_eq!(refused::<OneArgument>(json!({ "cardId": 0 })), json!({ "cardId": ["must be at least 1"] }).to_string());
    assert!(refused::<OneArgument>(json!({ "card_id": 7 })).contains("cardId"));
    assert_eq!(OneArgument::from(7).card_id, 7);
    let types = described::<OneArgument>()["types"].clone();
    assert_eq!(types[0]["name"], "OneArgument");
    assert_eq!(types[0]["shape"]["fields"][0]["name"], "cardId");
}

#[test]
fn one_input_is_the_arguments_object_itself() {
    let args = AddNote::from(NewNote { text: "a".into() });
    assert_eq!(written(&args), json!({ "text": "a" }));
    assert_eq!(read::<AddNote>(json!({ "text": "b" })).input.text, "b");
    assert_eq!(refused::<AddNote>(json!({ "text": "" })), json!({ "text": ["must not be empty"] }).to_string());
    assert_eq!(described::<AddNote>(), described::<NewNote>());
}

#[test]
fn an_input_with_the_name_of_the_arguments_is_the_arguments() {
    fn same<F: Function<Args = Rename>>(_: F) {}
    same(rename);
    fn none<F: Function<Args = ()>>(_: F) {}
    none(nothing_at_all);
}

#[test]
fn names_and_scopes_are_kept() {
    let args = deeper::Scoped { r#type: "a".into(), args: 1 };
    assert_eq!(written(&args), json!({ "type": "a", "args": 1 }));
    assert_eq!(read::<FromAMacro>(json!({})).id, None);
    assert!(refused::<FromAMacro>(json!({ "id": [1, 2, 3, 4] })).contains("at most 3"));
    assert_eq!(read::<FromAMacroToo>(json!({ "number": 1 })).id, None);
    assert!(refused::<FromAMacroToo>(json!({ "number": 4 })).contains("at most 3"));
}

#[test]
fn a_function_may_be_defined_within_a_function() {
    #[forge::query]
    async fn local(_ctx: &QueryContext, a: i32, b: i32) -> Result<i32> {
        Ok(a + b)
    }
    assert_eq!(local::INFO.name, "local");
    assert_eq!(written(&Local { a: 1, b: 2 }), json!({ "a": 1, "b": 2 }));
}
