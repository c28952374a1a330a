use forge::__rt::db::FromRow;
use forge::__rt::pg::Type;
use forge::prelude::*;
use serde_json::json;

use crate::enums::CardState;
use crate::{described, read, refused, written};

/// A card on a board.
#[forge::model]
#[table(name = "cards", schema = "board")]
#[index(fields = ["column_id", "place"], name = "idx_order")]
#[index(fields = ["title"])]
#[derive(PartialEq)]
pub struct Card {
    #[id]
    pub id: Uuid,
    #[indexed]
    pub column_id: Uuid,
    #[max_length = 5]
    #[unique]
    pub title: String,
    pub state: CardState,
    #[column = "position"]
    pub place: i64,
    #[nullable]
    pub due: Option<Timestamp>,
    #[jsonb]
    pub extra: Option<Json<Vec<i64>>>,
    #[default = "now()"]
    pub created_at: Timestamp,
    #[updated_at]
    pub updated_at: Timestamp,
    r#type: Option<String>,
}

#[forge::model]
struct Category {
    #[id]
    code: String,
    tags: Vec<String>,
}

#[derive(forge::FromRow)]
#[allow(dead_code)]
struct Count {
    #[column = "count"]
    how_many: i64,
    title: Option<String>,
}

fn card() -> Card {
    Card {
        id: Uuid::nil(),
        column_id: Uuid::nil(),
        title: "Milk".into(),
        state: CardState::Open,
        place: 1,
        due: None,
        extra: Some(Json(vec![1])),
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
        r#type: None,
    }
}

#[test]
fn the_table_is_as_declared() {
    assert_eq!(Card::TABLE, "\"board\".\"cards\"");
    assert_eq!(Card::ID_COLUMN, "id");
    assert_eq!(<Card as Model>::UPDATED_AT, ["updated_at"]);
    assert_eq!(
        Card::definition().to_create_sql(),
        "CREATE TABLE \"board\".\"cards\" (\n    \"id\" uuid PRIMARY KEY,\n    \"column_id\" uuid NOT NULL,\n    \
         \"title\" varchar(5) NOT NULL UNIQUE,\n    \"state\" \"card_state\" NOT NULL,\n    \"position\" bigint NOT NULL,\n    \
         \"due\" timestamptz,\n    \"extra\" jsonb,\n    \"created_at\" timestamptz NOT NULL DEFAULT now(),\n    \
         \"updated_at\" timestamptz NOT NULL,\n    \"type\" text\n);\n\
         CREATE INDEX \"idx_cards_column_id\" ON \"board\".\"cards\" (\"column_id\");\n\
         CREATE INDEX \"idx_order\" ON \"board\".\"cards\" (\"column_id\", \"position\");\n\
         CREATE INDEX \"idx_cards_title\" ON \"board\".\"cards\" (\"title\");\n"
    );
    assert_eq!(Category::TABLE, "\"categories\"");
    assert_eq!(Category::ID_COLUMN, "code");
}

#[test]
fn columns_have_tokens() {
    assert_eq!(Card::PLACE.name(), "position");
    assert_eq!(Card::UPDATED_AT.name(), "updated_at");
    assert_eq!(Card::TYPE.name(), "type");
    assert_eq!(Category::TAGS.name(), "tags");
    assert_eq!(
        Card::COLUMNS,
        ["id", "column_id", "title", "state", "position", "due", "extra", "created_at", "updated_at", "type"]
    );
    assert_eq!(Count::COLUMNS, ["count", "title"]);
    let fields = Count::fields();
    assert_eq!((fields[0].name, fields[0].rust), (Some("count"), "i64"));
    assert!((fields[1].accepts)(&Type::TEXT) && !(fields[1].accepts)(&Type::INT8));
}

#[test]
fn values_come_in_the_order_of_the_columns() {
    assert_eq!(card().into_values().len(), Card::COLUMNS.len());
    assert!(Card::new_id().is_some());
    assert!(Category::new_id().is_none());
}

#[test]
fn on_the_wire_it_is_an_object() {
    let json = json!({
        "id": "00000000-0000-0000-0000-000000000000", "columnId": "00000000-0000-0000-0000-000000000000", "title": "Milk",
        "state": "open", "place": "1", "due": null, "extra": ["1"], "createdAt": "1970-01-01T00:00:00Z",
        "updatedAt": "1970-01-01T00:00:00Z", "type": null
    });
    assert_eq!(written(&card()), json);
    let mut more = json.clone();
    more["unknown"] = json!(1);
    assert_eq!(read::<Card>(more), card());
    let mut long = json;
    long["title"] = json!("123456");
    assert!(refused::<Card>(long).contains("at most 5"));
    let fields = &described::<Card>()["types"][0];
    assert_eq!(fields["doc"], "A card on a board.");
    assert_eq!(fields["shape"]["fields"][2]["rules"], json!([{ "rule": "length", "max": 5 }]));
}
