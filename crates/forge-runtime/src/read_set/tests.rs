use std::collections::HashMap;

use super::analyse::analyse;
use super::catalogue::{Column, Relation};
use super::outline::Outline;
use super::*;

fn table(oid: u32, name: &str, columns: &[(&str, Option<KeyKind>)]) -> (Vec<String>, Relation) {
    let columns =
        columns.iter().map(|(name, key)| Column { name: (*name).to_owned(), key: *key, bytewise: true, ty: 0 }).collect();
    let family = vec![(oid, name.to_owned())];
    (vec![name.to_owned()], Relation::Table(Arc::new(Table { oid, name: name.to_owned(), columns, attributes: 0, family })))
}

fn catalogue() -> Catalogue {
    let (id, text, flag) = (Some(KeyKind::Uuid), Some(KeyKind::Text), Some(KeyKind::Bool));
    Catalogue {
        relations: HashMap::from([
            table(1, "cards", &[("id", id), ("list_id", id), ("title", text), ("done", flag), ("weight", None)]),
            table(2, "lists", &[("id", id), ("board_id", id), ("name", text)]),
        ]),
    }
}

/// What a statement reads, in words: `cards(title) list_id=$1`.
fn reads(sql: &str) -> Vec<String> {
    let outline = Outline::of(sql).unwrap_or_else(|why| panic!("{sql}: {}", why.0));
    let (sources, _) = analyse(&outline, &catalogue()).unwrap_or_else(|why| panic!("{sql}: {}", why.0));
    let mut lines: Vec<String> = sources
        .iter()
        .map(|source| {
            let columns = match &source.columns {
                Columns::All => "*".to_owned(),
                Columns::These(names) => names.iter().cloned().collect::<Vec<_>>().join(","),
            };
            let mut keys: Vec<String> =
                source.keys.iter().map(|key| format!(" {}={}", key.column, terms(&key.terms))).collect();
            keys.sort();
            format!("{}({columns}){}", source.table.name, keys.concat())
        })
        .collect();
    lines.sort();
    lines
}

fn terms(terms: &[Term]) -> String {
    let one = |term: &Term| match term {
        Term::Argument(n) => format!("${}", n + 1),
        Term::Elements(n) => format!("${}[]", n + 1),
        Term::Literal(text) => text.clone(),
        Term::Null => "null".into(),
    };
    terms.iter().map(one).collect::<Vec<_>>().join("|")
}

fn refused(sql: &str) -> String {
    match Outline::of(sql).and_then(|outline| analyse(&outline, &catalogue()).map(drop)) {
        Ok(()) => panic!("{sql} was taken"),
        Err(why) => why.0,
    }
}

#[test]
fn an_equality_narrows_its_table() {
    assert_eq!(reads("SELECT title FROM cards WHERE list_id = $1"), ["cards(list_id,title) list_id=$1"]);
    assert_eq!(
        reads("SELECT title FROM cards WHERE $1 = list_id AND NOT done"),
        ["cards(done,list_id,title) done=false list_id=$1"]
    );
    assert_eq!(
        reads("SELECT title FROM cards WHERE (title = 'x') AND (id = ANY($2))"),
        ["cards(id,title) id=$2[] title=x"]
    );
    assert_eq!(reads("SELECT 1 FROM cards WHERE title IN ('a', $1)"), ["cards(title) title=a|$1"]);
    assert_eq!(
        reads("SELECT 1 FROM cards WHERE list_id IS NULL AND id = $1::uuid"),
        ["cards(id,list_id) id=$1 list_id=null"]
    );
}

#[test]
fn what_is_not_certain_narrows_nothing() {
    for sql in [
        "SELECT title FROM cards WHERE list_id = $1 OR done",
        "SELECT title FROM cards WHERE NOT (list_id = $1)",
        "SELECT title FROM cards WHERE list_id <> $1",
        "SELECT title FROM cards WHERE lower(list_id::text) = $1 AND done IS NOT NULL",
        "SELECT title, done FROM cards WHERE (list_id = $1) IS NOT TRUE",
    ] {
        assert!(reads(sql).iter().all(|line| !line.contains('=')), "{sql}: {:?}", reads(sql));
    }
    assert_eq!(reads("SELECT 1 FROM cards WHERE weight = $1"), ["cards(weight)"], "a type with other ideas of equality");
}

#[test]
fn columns_are_those_that_are_named() {
    assert_eq!(reads("SELECT * FROM cards"), ["cards(*)"]);
    assert_eq!(reads("SELECT c.* FROM cards c"), ["cards(*)"]);
    assert_eq!(reads("SELECT count(*) FROM cards"), ["cards()"]);
    assert_eq!(reads("SELECT count(c) FROM cards c"), ["cards(*)"], "a row as a whole");
    assert_eq!(reads("SELECT to_jsonb(cards) FROM cards"), ["cards(*)"]);
    assert_eq!(reads("SELECT weight * 2 FROM cards"), ["cards(weight)"], "a product");
    assert_eq!(reads("SELECT DISTINCT ON (id) * FROM cards"), ["cards(*)"]);
    assert_eq!(reads("SELECT a FROM cards AS c(a, b)"), ["cards(*)"], "renamed");
    assert_eq!(reads("SELECT \"title\" FROM cards ORDER BY Weight"), ["cards(title,weight)"]);
}

#[test]
fn values_pass_through_joins() {
    assert_eq!(
        reads("SELECT c.title FROM cards c JOIN lists l ON l.id = c.list_id WHERE l.id = $1"),
        ["cards(id,list_id,title) list_id=$1", "lists(id) id=$1"]
    );
    assert_eq!(
        reads("SELECT c.title FROM lists l, cards c WHERE l.id = c.list_id AND l.board_id = $1"),
        ["cards(id,list_id,title)", "lists(board_id,id) board_id=$1"]
    );
}

#[test]
fn an_outer_join_narrows_only_the_side_that_may_be_missing() {
    assert_eq!(
        reads("SELECT l.name, c.title FROM lists l LEFT JOIN cards c ON c.list_id = l.id AND c.done WHERE l.id = $1"),
        ["cards(done,id,list_id,title) done=true list_id=$1", "lists(id,name) id=$1"]
    );
    assert_eq!(
        reads("SELECT l.name FROM lists l LEFT JOIN cards c ON c.list_id = l.id AND l.board_id = $1"),
        ["cards(id,list_id)", "lists(board_id,id,name)"],
        "lists without cards stay"
    );
    assert_eq!(
        reads("SELECT l.name FROM cards c RIGHT JOIN lists l ON c.list_id = l.id AND c.title = 'x' AND l.name = 'y'"),
        ["cards(id,list_id,name,title) title=x".replace("name,", ""), "lists(id,name)".into()]
    );
    assert!(
        reads("SELECT l.name FROM lists l FULL JOIN cards c ON c.list_id = l.id AND c.done")
            .iter()
            .all(|line| !line.contains('='))
    );
    assert_eq!(
        reads("SELECT l.name FROM lists l LEFT JOIN cards c ON c.list_id = l.id WHERE c.title = $1"),
        ["cards(id,list_id,title) title=$1", "lists(id,name)"]
    );
}

#[test]
fn a_row_that_is_missing_is_null() {
    assert_eq!(
        reads("SELECT l.id FROM lists l LEFT JOIN cards c ON c.list_id = l.id WHERE c.id IS NULL"),
        ["cards(id,list_id)", "lists(id)"],
        "a card that is not null takes its list out of the result"
    );
}

#[test]
fn every_place_counts() {
    assert_eq!(
        reads("SELECT (SELECT count(*) FROM cards c WHERE c.list_id = l.id) FROM lists l WHERE l.id = $1"),
        ["cards(id,list_id)", "lists(id) id=$1"],
        "a value of the outer query is not known"
    );
    assert_eq!(
        reads("SELECT id FROM cards WHERE list_id = $1 UNION SELECT id FROM cards WHERE list_id = $2"),
        ["cards(id,list_id) list_id=$1", "cards(id,list_id) list_id=$2"]
    );
    assert_eq!(
        reads(
            "WITH mine AS (SELECT id FROM cards WHERE list_id = $1) SELECT id FROM mine WHERE EXISTS (SELECT 1 FROM lists)"
        ),
        ["cards(id,list_id) list_id=$1", "lists(id)"]
    );
    assert_eq!(
        reads("WITH cards AS (SELECT id FROM cards WHERE list_id = $1) SELECT id FROM cards WHERE id = $2"),
        ["cards(id,list_id)", "cards(id,list_id)"],
        "a name that may stand for either"
    );
    assert_eq!(
        reads("SELECT 1 FROM (cards a JOIN cards b ON a.id = b.list_id) AS j WHERE j.title = $1"),
        ["cards(*)", "cards(*)"].map(|_| "cards(id,list_id,title)")
    );
}

#[test]
fn what_cannot_be_followed_is_refused() {
    assert!(refused("SELECT id FROM cards WHERE created < current_timestamp").contains("current_timestamp"));
    assert!(refused("SELECT id FROM cards WHERE at < 'now'::timestamptz").contains("'now'"));
    assert!(refused("SELECT * FROM missing").contains("no table missing"));
    assert!(refused("INSERT INTO cards VALUES (1)").contains("only a SELECT"));
    assert!(refused("WITH x AS (DELETE FROM cards RETURNING id) SELECT id FROM x").contains("writes"));
    assert!(refused("SELECT FROM WHERE )").contains("not understood"));
}

#[test]
fn arguments_make_dependencies() {
    let outline = Outline::of("SELECT id FROM cards WHERE list_id = $1 AND title = ANY($2)").unwrap();
    let reading = Reading { sources: analyse(&outline, &catalogue()).unwrap().0 };
    let id = Argument::One(KeyKind::Uuid, "7".into());
    let titles = Argument::Many(KeyKind::Text, vec!["a".into(), "b".into()]);
    let bound = reading.bind(&[id.clone(), titles]);
    let some = |text: &str| Some(text.to_owned());
    let keys = vec![
        ("list_id".to_owned(), BTreeSet::from([some("7")])),
        ("title".to_owned(), BTreeSet::from([some("a"), some("b")])),
    ];
    let mut found = bound[0].keys.clone();
    found.sort();
    assert_eq!(found, keys);
    assert!(reading.bind(&[Argument::Null, Argument::Opaque]).is_empty(), "nothing equals NULL");
    assert_eq!(reading.bind(&[id, Argument::Opaque])[0].keys.len(), 1, "an argument that is not understood widens");
}
