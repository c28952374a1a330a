use std::collections::BTreeMap;

use forge::__rt::wire::read_answer;
use forge::prelude::*;
use serde_json::json;

use crate::{described, read, refused, written};

/// A card that does not exist yet.
#[forge::input]
#[derive(PartialEq, Default)]
pub struct NewCard {
    pub column_id: Uuid,
    /// What it says.
    #[validate(length(min = 1, max = 5))]
    pub title: String,
    #[validate(range(min = 0, max = 10))]
    pub weight: f64,
    #[validate(range(min = -1))]
    pub price: Option<Decimal>,
    #[validate(email)]
    pub mail: Option<String>,
    #[validate(url, pattern = "^https:")]
    pub link: Option<String>,
    #[validate(custom = "is_even", custom = rules::is_small)]
    #[serde(default)]
    pub number: i64,
    #[serde(rename = "labels")]
    pub tags: Vec<Tag>,
    pub bytes: Vec<u8>,
    pub counts: BTreeMap<String, u64>,
    pub r#type: Option<Kind>,
    pub violations: Option<bool>,
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_even(number: &i64) -> Result<(), String> {
    if number % 2 == 0 { Ok(()) } else { Err("must be even".into()) }
}

mod rules {
    pub(super) fn is_small(number: &i64) -> Result<(), String> {
        if *number < 100 { Ok(()) } else { Err("must be small".into()) }
    }
}

/// One word.
#[forge::input]
#[derive(PartialEq)]
pub struct Tag(#[validate(length(min = 2))] pub String);

#[forge::input]
#[derive(Copy, PartialEq)]
pub enum Kind {
    /// The usual.
    Plain,
    VeryUrgent,
    #[serde(rename = "other")]
    Else,
}

#[forge::input]
#[derive(PartialEq)]
pub enum Target {
    /// A card.
    Card {
        card_id: i64,
        #[validate(length(min = 1))]
        value: String,
    },
    Everything,
}

/// Its traits are derived by hand.
#[forge::input]
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ByHand {
    pub long_name: i64,
}

/// It may contain itself.
#[forge::input]
pub struct Tree {
    pub children: Vec<Tree>,
    pub parent: Option<Box<Tree>>,
}

#[forge::input]
pub struct Empty {}

fn card() -> NewCard {
    NewCard { title: "Milk".into(), tags: vec![Tag("ab".into())], ..NewCard::default() }
}

fn card_json() -> serde_json::Value {
    json!({
        "columnId": "00000000-0000-0000-0000-000000000000", "title": "Milk", "weight": 0.0, "price": null, "mail": null,
        "link": null, "number": "0", "labels": ["ab"], "bytes": "", "counts": {}, "type": null, "violations": null
    })
}

#[test]
fn a_struct_is_an_object_in_camel_case() {
    assert_eq!(written(&card()), card_json());
    assert_eq!(read::<NewCard>(card_json()), card());
    assert_eq!(written(&Empty {}), json!({}));
    assert_eq!(read::<ByHand>(json!({ "longName": "5" })), ByHand { long_name: 5 });
}

#[test]
fn optional_fields_may_be_left_out_and_unknown_ones_are_refused() {
    let mut json = card_json();
    let fields = json.as_object_mut().unwrap();
    fields.retain(|name, _| !["price", "mail", "link", "number", "type", "violations"].contains(&name.as_str()));
    assert_eq!(read::<NewCard>(json.clone()), card());
    json["colour"] = json!("red");
    assert!(refused::<NewCard>(json).contains("unknown field `colour`"));
}

#[test]
fn every_broken_rule_is_named_with_its_field() {
    let mut json = card_json();
    json["title"] = json!("");
    json["weight"] = json!(10.5);
    json["price"] = json!("-1.5");
    json["mail"] = json!("nobody");
    json["link"] = json!("http://x.y");
    json["number"] = json!("101");
    json["labels"] = json!(["ab", "c"]);
    let details: serde_json::Value = serde_json::from_str(&refused::<NewCard>(json)).unwrap();
    assert_eq!(
        details,
        json!({
            "title": ["must have a length of 1 to 5"],
            "weight": ["must be 0 to 10"],
            "price": ["must be at least -1"],
            "mail": ["must be an e-mail address"],
            "link": ["must match ^https:"],
            "number": ["must be even", "must be small"],
            "labels.1": ["must have a length of at least 2"],
        })
    );
}

#[test]
fn enums_are_words_or_tagged_objects() {
    assert_eq!(written(&Kind::VeryUrgent), json!("very_urgent"));
    assert_eq!(read::<Kind>(json!("other")), Kind::Else);
    assert!(refused::<Kind>(json!("VeryUrgent")).contains("very_urgent"));

    let target = Target::Card { card_id: 1, value: "x".into() };
    assert_eq!(written(&target), json!({ "type": "card", "cardId": "1", "value": "x" }));
    assert_eq!(read::<Target>(json!({ "type": "card", "cardId": "1", "value": "x" })), target);
    assert_eq!(read::<Target>(json!({ "type": "everything" })), Target::Everything);
    assert_eq!(written(&Target::Everything), json!({ "type": "everything" }));
    assert!(refused::<Target>(json!({ "type": "card", "cardId": "1", "value": "x", "more": 1 })).contains("more"));
    assert!(refused::<Target>(json!({ "type": "card", "cardId": "1", "value": "" })).contains("must not be empty"));
}

#[test]
fn a_newtype_is_what_is_inside() {
    assert_eq!(written(&Tag("ab".into())), json!("ab"));
    assert_eq!(refused::<Tag>(json!("a")), json!({ "": ["must have a length of at least 2"] }).to_string());
}

#[test]
fn types_describe_themselves() {
    let described = described::<NewCard>();
    assert_eq!(described["type"], json!({ "kind": "named", "name": "NewCard" }));
    let types = described["types"].as_array().unwrap();
    let names: Vec<_> = types.iter().map(|ty| ty["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["Kind", "NewCard", "Tag"]);
    assert_eq!(types[0]["shape"]["variants"][0], json!({ "name": "plain", "doc": "The usual." }));
    assert_eq!(types[1]["doc"], "A card that does not exist yet.");
    assert!(types[1]["rust"].as_str().unwrap().ends_with("inputs::NewCard"));
    assert_eq!(
        types[1]["shape"]["fields"][1],
        json!({
            "name": "title", "type": { "kind": "string" }, "doc": "What it says.",
            "rules": [{ "rule": "length", "min": 1, "max": 5 }],
        })
    );
    assert_eq!(types[1]["shape"]["fields"][6]["optional"], true);
    assert_eq!(types[1]["shape"]["fields"][3]["rules"], json!([{ "rule": "range", "min": "-1" }]));
    assert_eq!(
        types[2]["shape"],
        json!({ "kind": "alias", "of": { "kind": "string" }, "rules": [{ "rule": "length", "min": 2 }] })
    );
    assert_eq!(crate::described::<Target>()["types"][0]["shape"]["tag"], "type");
    assert_eq!(crate::described::<Tree>()["types"].as_array().unwrap().len(), 1);
}

#[test]
fn rules_are_for_what_comes_from_outside() {
    assert_eq!(read_answer::<Tag>(b"\"a\"").unwrap(), Tag("a".into()));
    assert_eq!(read_answer::<Tag>(b"7").unwrap_err().code(), "INTERNAL_ERROR");
}
