use std::collections::HashMap;

use super::analyse::analyse;
use super::catalogue::{Column, Relation};
use super::outline::Outline;
use super::*;

fn table(oid: u32, name: &str, columns: &[(&str, Option<KeyKind>)]) -> (Vec<String>, Relation) {
    let columns = columns
        .iter()
        .map(|(name, key)| Column {
            name: (*name).to_owned(),
            key: *key,
            bytewise: true,
            ordered: key.is_some_and(KeyKind::has_order) && *name != "title",
            ty: 0,
            type_name: String::new(),
        })
        .collect();
    let family = vec![(oid, name.to_owned())];
    (vec![name.to_owned()], Relation::Table(Arc::new(Table::new(oid, name.to_owned(), columns, 0, family))))
}

fn view(name: &str, definition: &str) -> (Vec<String>, Relation) {
    (vec![name.to_owned()], Relation::View(Arc::new(Outline::of(definition).unwrap())))
}

fn catalogue() -> Catalogue {
    let (id, text, flag) = (Some(KeyKind::Uuid), Some(KeyKind::Text), Some(KeyKind::Bool));
    let (int, at) = (Some(KeyKind::Int), Some(KeyKind::Timestamptz));
    Catalogue {
        relations: HashMap::from([
            table(1, "cards", &[("id", id), ("list_id", id), ("title", text), ("done", flag), ("weight", None)]),
            table(2, "lists", &[("id", id), ("board_id", id), ("name", text)]),
            table(3, "events", &[("id", int), ("card_id", id), ("at", at)]),
            view("open_cards", "SELECT c.id, c.list_id, c.title FROM cards c WHERE NOT c.done"),
            view("last_cards", "SELECT c.id, c.list_id FROM cards c ORDER BY c.title LIMIT 3"),
            view("counts", "SELECT c.list_id, count(*) AS cards FROM cards c GROUP BY c.list_id"),
            view("both", "SELECT c.id AS id, c.title AS name FROM cards c UNION ALL SELECT l.id, l.name FROM lists l"),
        ]),
        ..Catalogue::default()
    }
}

/// What a statement reads, in words: `cards(title) list_id=$1`.
fn reads(sql: &str) -> Vec<String> {
    let outline = Outline::of(sql).unwrap_or_else(|why| panic!("{sql}: {}", why.0));
    let reading = analyse(&outline, &catalogue()).unwrap_or_else(|why| panic!("{sql}: {}", why.0));
    let mut lines: Vec<String> = reading
        .sources
        .iter()
        .map(|source| {
            let columns = match &source.columns {
                Columns::All => "*".to_owned(),
                Columns::These(names) => names.iter().cloned().collect::<Vec<_>>().join(","),
            };
            let mut keys: Vec<String> =
                source.keys.iter().map(|key| format!(" {}{}", key.column, test(&key.test))).collect();
            keys.sort();
            format!("{}({columns}){}", source.table.name, keys.concat())
        })
        .collect();
    lines.sort();
    lines
}

fn test(test: &Test) -> String {
    match test {
        Test::Among(list) => format!("={}", terms(list)),
        Test::Above { than, included } => {
            format!("{}{}", if *included { ">=" } else { ">" }, terms(std::slice::from_ref(than)))
        }
        Test::Below { than, included } => {
            format!("{}{}", if *included { "<=" } else { "<" }, terms(std::slice::from_ref(than)))
        }
    }
}

fn terms(terms: &[Term]) -> String {
    let one = |term: &Term| match term {
        Term::Argument(n) => format!("${}", n + 1),
        Term::ArgumentOrNull(n) => format!("${}|null", n + 1),
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
        "SELECT title FROM cards WHERE list_id = $1 OR weight > 5",
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
        ["cards(id,list_id) id=$2 list_id=$1"],
        "a name that stands for the table inside, and for the query outside"
    );
    assert_eq!(
        reads("SELECT 1 FROM (cards a JOIN cards b ON a.id = b.list_id) AS j WHERE j.title = $1"),
        ["cards(id,list_id,title)"],
    );
    assert_eq!(
        reads("SELECT 1 FROM cards WHERE list_id = $1 ORDER BY (SELECT name FROM lists WHERE id = $2)"),
        ["cards(id,list_id) list_id=$1", "lists(id,name) id=$2"]
    );
    assert_eq!(reads("SELECT 1 LIMIT (SELECT count(*) FROM lists)"), ["lists()"]);
}

#[test]
fn alternatives_are_followed_each() {
    assert_eq!(
        reads("SELECT 1 FROM cards WHERE list_id = $1 OR (id = $2 AND NOT done)"),
        ["cards(done,id,list_id) done=false id=$2", "cards(done,id,list_id) list_id=$1"]
    );
    assert_eq!(
        reads("SELECT 1 FROM cards WHERE NOT (done OR list_id IS NOT NULL)"),
        ["cards(done,list_id) done=false list_id=null"]
    );
    assert_eq!(
        reads("SELECT 1 FROM cards WHERE (list_id = $1 OR list_id = $2) AND (done OR title = 'x')").len(),
        4,
        "each with each"
    );
    let many: Vec<String> = (1..=9).map(|n| format!("id = ${n}")).collect();
    assert_eq!(reads(&format!("SELECT 1 FROM cards WHERE {}", many.join(" OR "))), ["cards(id)"]);
    assert_eq!(
        reads("SELECT 1 FROM lists l LEFT JOIN cards c ON c.list_id = l.id WHERE c.title = $1 OR l.id = $2"),
        ["cards(id,list_id,title) list_id=$2", "cards(id,list_id,title) title=$1", "lists(id)"],
        "the first alternative asks nothing of lists, the second passes on what it asks of them"
    );
}

#[test]
fn ranges_are_followed_where_the_order_is_known() {
    assert_eq!(reads("SELECT 1 FROM events WHERE id > $1"), ["events(id) id>$1"]);
    assert_eq!(reads("SELECT 1 FROM events WHERE -5 >= id AND NOT at < $1"), ["events(at,id) at>=$1 id<=-5"]);
    assert_eq!(reads("SELECT 1 FROM events WHERE id BETWEEN $1 AND 9"), ["events(id) id<=9 id>=$1"]);
    assert_eq!(reads("SELECT 1 FROM events WHERE id NOT BETWEEN $1 AND 9"), ["events(id)"]);
    assert_eq!(reads("SELECT 1 FROM events WHERE (at, id) > ($1, $2)"), ["events(at,id) at>=$1"]);
    assert_eq!(reads("SELECT 1 FROM cards WHERE title > $1"), ["cards(title)"], "of text under a collation");
    assert_eq!(reads("SELECT 1 FROM lists WHERE name > $1"), ["lists(name) name>$1"]);
    assert_eq!(
        reads("SELECT 1 FROM events e JOIN events f ON e.id = f.id WHERE f.id < 7"),
        ["events(id) id<7"],
        "through a join, for both"
    );
}

#[test]
fn sub_selects_know_what_is_known_outside() {
    assert_eq!(
        reads("SELECT (SELECT count(*) FROM cards c WHERE c.list_id = l.id) FROM lists l WHERE l.id = $1"),
        ["cards(id,list_id) list_id=$1", "lists(id) id=$1"]
    );
    assert_eq!(
        reads("SELECT 1 FROM lists l WHERE l.id = $1 AND NOT EXISTS (SELECT 1 FROM cards WHERE list_id = l.id AND done)"),
        ["cards(done,id,list_id) done=true list_id=$1", "lists(id) id=$1"]
    );
    assert_eq!(
        reads("SELECT 1 FROM lists l WHERE l.id = $1 OR EXISTS (SELECT 1 FROM cards c WHERE c.list_id = l.id)"),
        ["cards(id,list_id)", "lists(id)"],
        "one alternative says nothing"
    );
    assert_eq!(
        reads("SELECT 1 FROM lists l WHERE l.id = $1 AND EXISTS (SELECT 1 FROM lists l JOIN cards c ON c.list_id = l.id)"),
        ["cards(id,list_id)", "lists(id)"],
        "another l"
    );
    assert_eq!(
        reads(
            "SELECT 1 FROM lists l LEFT JOIN LATERAL (SELECT 1 FROM cards c WHERE c.list_id = l.id LIMIT 3) d ON true WHERE l.id = $1"
        ),
        ["cards(id,list_id) list_id=$1", "lists(id) id=$1"]
    );
}

#[test]
fn what_is_asked_of_a_view_is_asked_of_its_tables() {
    assert_eq!(
        reads("SELECT title FROM open_cards WHERE list_id = $1"),
        ["cards(done,id,list_id,title) done=false list_id=$1"]
    );
    assert_eq!(
        reads("SELECT l.name FROM lists l JOIN open_cards o ON o.list_id = l.id WHERE l.id = $1"),
        ["cards(done,id,list_id,title) done=false list_id=$1", "lists(id,name) id=$1"]
    );
    assert_eq!(reads("SELECT id FROM last_cards WHERE list_id = $1"), ["cards(id,list_id,title)"], "not through LIMIT");
    assert_eq!(reads("SELECT cards FROM counts WHERE list_id = $1"), ["cards(list_id) list_id=$1"], "a group as a whole");
    assert_eq!(reads("SELECT 1 FROM counts WHERE cards > 5"), ["cards(list_id)"]);
    assert_eq!(reads("SELECT 1 FROM both WHERE id = $1"), ["cards(id,title) id=$1", "lists(id,name) id=$1"]);
    assert_eq!(
        reads("SELECT 1 FROM (SELECT DISTINCT list_id AS list FROM cards WHERE done) d (l) WHERE d.l = $1"),
        ["cards(*) done=true list_id=$1"]
    );
    assert_eq!(
        reads("SELECT 1 FROM (SELECT id, count(*) OVER (PARTITION BY list_id) AS n FROM cards) d WHERE d.id = $1"),
        ["cards(id,list_id)"],
        "a window looks at other rows"
    );
    assert_eq!(
        reads("SELECT 1 FROM (SELECT c.title FROM lists l LEFT JOIN cards c ON c.list_id = l.id) d WHERE d.title IS NULL"),
        ["cards(id,list_id,title)", "lists(id)"]
    );
    assert_eq!(
        reads(
            "WITH RECURSIVE up AS (SELECT id FROM cards WHERE id = $1 UNION SELECT c.list_id FROM cards c JOIN up ON up.id = c.id) SELECT 1 FROM up WHERE id = $2"
        ),
        ["cards(id,list_id)"]
    );
}

#[test]
fn a_cast_that_may_cut_widens() {
    assert_eq!(reads("SELECT 1 FROM cards WHERE title = $1::text"), ["cards(title) title=$1"]);
    assert_eq!(reads("SELECT 1 FROM cards WHERE title = $1::varchar(3)"), ["cards(title)"]);
    assert_eq!(reads("SELECT 1 FROM cards WHERE title = ANY($1::varchar(3)[])"), ["cards(title)"]);
    assert_eq!(reads("SELECT 1 FROM cards WHERE title = 'abcd'::varchar(3)"), ["cards(title)"]);
    assert_eq!(reads("SELECT 1 FROM events WHERE at = $1::timestamptz(0)"), ["events(at)"]);
    assert_eq!(reads("SELECT 1 FROM events WHERE id = '-4'::integer"), ["events(id) id=-4"]);
    assert_eq!(reads("SELECT 1 FROM cards WHERE title = ANY (ARRAY['a'::text, $2])"), ["cards(title) title=a|$2"]);
    assert_eq!(reads("SELECT 1 FROM cards WHERE list_id IS NOT DISTINCT FROM $1"), ["cards(list_id) list_id=$1|null"]);
}

#[test]
fn what_cannot_be_followed_is_refused() {
    assert!(refused("SELECT id FROM cards WHERE created < current_timestamp").contains("current_timestamp"));
    assert!(refused("SELECT id FROM cards WHERE at < 'now'::timestamptz").contains("'now'"));
    assert!(refused("SELECT 1 FROM cards WHERE at < timestamptz 'now'").contains("'now'"));
    assert!(refused("SELECT 1 FROM cards TABLESAMPLE SYSTEM (5)").contains("lots"));
    assert!(refused("SELECT xmin FROM cards").contains("xmin"));
    assert!(refused("SELECT * FROM missing").contains("no table missing"));
    assert!(refused("INSERT INTO cards VALUES (1)").contains("only a SELECT"));
    assert!(refused("WITH x AS (DELETE FROM cards RETURNING id) SELECT id FROM x").contains("writes"));
    assert!(refused("SELECT FROM WHERE )").contains("not understood"));
}

#[test]
fn arguments_make_dependencies() {
    let outline = Outline::of("SELECT id FROM cards WHERE list_id = $1 AND title = ANY($2)").unwrap();
    let reading = analyse(&outline, &catalogue()).unwrap();
    let id = Argument::One(KeyKind::Uuid, "7".into());
    let titles = Argument::Many(KeyKind::Text, vec!["a".into(), "b".into()]);
    let bound = reading.bind(&[id.clone(), titles]);
    let some = |text: &str| Some(text.to_owned());
    let keys = vec![
        ("list_id".to_owned(), Values::Among(BTreeSet::from([some("7")]))),
        ("title".to_owned(), Values::Among(BTreeSet::from([some("a"), some("b")]))),
    ];
    let mut found = bound[0].keys.clone();
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    assert_eq!(found, keys);
    assert!(reading.bind(&[Argument::Null, Argument::Opaque]).is_empty(), "nothing equals NULL");
    assert_eq!(reading.bind(&[id, Argument::Opaque])[0].keys.len(), 1, "an argument that is not understood widens");
}
