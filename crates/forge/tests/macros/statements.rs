use forge::__rt::db::CheckedSql;
use forge::prelude::*;

use crate::models::Card;

struct Filter {
    title: String,
    inner: (i64, bool),
}

#[test]
fn arguments_are_captured_by_name() {
    let id = Uuid::nil();
    let title: &str = "Milk";
    let filter = Filter { title: "Oat".into(), inner: (1, true) };
    // Everything that a person may write where an argument stands.
    drop(sql!(
        Card,
        r#"SELECT * FROM cards WHERE id = {id} AND title IN ({title}, {filter.title}) AND position > {filter.inner.0}
           AND id <> {id: Uuid} AND done = {filter.inner.1: bool} AND note = '{not}'"#,
    ));
    let statement = find("note = '{not}'");
    assert!(statement.text().contains("id = $1 AND title IN ($2, $3) AND position > $4"));
    assert!(statement.text().contains("id <> $1 AND done = $5"));
    let params: Vec<_> = statement.params().iter().map(|param| (param.name, param.ty)).collect();
    assert_eq!(
        params,
        [
            ("id", Some("Uuid")),
            ("title", None),
            ("filter.title", None),
            ("filter.inner.0", None),
            ("filter.inner.1", Some("bool")),
        ]
    );
    // Where a type is written, the check knows what can be sent.
    use forge::__rt::pg::Type;
    let [id, title, _, _, done] = statement.params() else { panic!("{statement:?}") };
    assert!(id.accepts.is_some_and(|accepts| accepts(&Type::UUID) && !accepts(&Type::TEXT)));
    assert!(done.accepts.is_some_and(|accepts| accepts(&Type::BOOL)));
    assert!(title.accepts.is_none());
}

#[test]
fn every_statement_is_in_the_list_with_its_place() {
    let state = "open";
    drop(sql!("UPDATE cards SET state = {state} /* listed */"));
    drop(sql!((i64, Option<String>), "SELECT count(*), max(title) FROM cards /* listed */"));
    let listed: Vec<_> = CheckedSql::all().filter(|sql| sql.statement.text().contains("listed")).collect();
    assert_eq!(listed.len(), 2);
    assert!(listed.iter().all(|sql| sql.statement.place().contains("statements.rs:")));
}

struct Store {
    prefix: String,
}

impl Store {
    fn by_prefix(&self) -> forge::__rt::db::Sql<'_, i32> {
        sql!(i32, "SELECT 1 /* by prefix */ WHERE {self.prefix} = 'a'")
    }
}

#[test]
fn a_field_of_self_is_an_argument() {
    let store = Store { prefix: "a".into() };
    drop(store.by_prefix());
    assert_eq!(find("by prefix").params()[0].name, "self.prefix");
}

fn find(part: &str) -> &'static forge::__rt::db::Statement {
    CheckedSql::all().find(|sql| sql.statement.text().contains(part)).map(|sql| sql.statement).unwrap()
}
