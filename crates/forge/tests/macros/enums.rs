use forge::__rt::db::PgEnum;
use forge::__rt::pg::{FromSql, Kind, ToSql, Type};
use forge::__rt::schema::{ColumnType, SqlType};
use serde_json::json;

use crate::{described, read, refused, written};

/// How far it is.
#[forge::forge_enum]
#[derive(Default, PartialOrd)]
pub enum CardState {
    /// Not begun.
    #[default]
    Open,
    InProgress,
    Done,
}

#[forge::forge_enum(name = "visibility_level")]
pub enum Visibility {
    #[default]
    Hidden,
    Shown,
}

fn pg_type(name: &str, kind: Kind) -> Type {
    Type::new(name.into(), 100_000, kind, "public".into())
}

#[test]
fn values_are_the_same_words_everywhere() {
    assert_eq!(CardState::ALL, [CardState::Open, CardState::InProgress, CardState::Done]);
    assert_eq!(CardState::InProgress.as_str(), "in_progress");
    assert_eq!(format!("{:>12}", CardState::InProgress), " in_progress");
    assert_eq!("done".parse::<CardState>().unwrap(), CardState::Done);
    assert_eq!(
        "Done".parse::<CardState>().unwrap_err().message(),
        "`Done` is not a CardState; expected one of: open, in_progress, done"
    );
    assert_eq!(written(&CardState::InProgress), json!("in_progress"));
    assert_eq!(read::<CardState>(json!("open")), CardState::Open);
    assert!(refused::<CardState>(json!("gone")).contains("in_progress"));
    assert_eq!((CardState::default(), Visibility::default()), (CardState::Open, Visibility::Hidden));
    assert_eq!(described::<CardState>()["types"][0]["shape"]["variants"][0]["doc"], "Not begun.");
}

#[test]
fn it_is_a_type_of_the_database() {
    let definition = CardState::definition();
    assert_eq!(definition.to_create_sql(), "CREATE TYPE \"card_state\" AS ENUM ('open', 'in_progress', 'done');\n");
    assert_eq!(definition.rust, "CardState");
    assert_eq!(Visibility::definition().name, "visibility_level");
    assert_eq!(<Option<CardState>>::sql_type(), SqlType::Enum { name: "card_state".into() });

    let own = pg_type("card_state", Kind::Enum(vec!["open".into()]));
    assert!(<CardState as ToSql>::accepts(&own) && <CardState as FromSql>::accepts(&own));
    assert!(<CardState as FromSql>::accepts(&Type::TEXT));
    assert!(!<CardState as FromSql>::accepts(&pg_type("mood", Kind::Enum(vec![]))));
    assert!(!<CardState as FromSql>::accepts(&pg_type("card_state", Kind::Simple)));
    assert!(!<CardState as FromSql>::accepts(&Type::INT4));

    let mut out = Default::default();
    CardState::Done.to_sql_checked(&own, &mut out).unwrap();
    assert_eq!(&out[..], b"done");
    assert_eq!(CardState::from_sql(&own, b"open").unwrap(), CardState::Open);
    assert!(CardState::from_sql(&own, b"closed").unwrap_err().to_string().contains("`closed` is not a CardState"));
}
