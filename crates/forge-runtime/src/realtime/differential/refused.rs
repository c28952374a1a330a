//! What no trigger sees is refused, with the reason, on the real catalogue.

use std::collections::BTreeSet;

use super::on_one_thread;
use super::place::{Place, connect};
use crate::feed::Capture;
use crate::read_set::Catalogue;

const TABLES: &str = "DROP SCHEMA IF EXISTS w CASCADE; CREATE SCHEMA w;
    CREATE TABLE cards (id int PRIMARY KEY, title text, at timestamptz);
    CREATE TABLE parted (id int) PARTITION BY LIST (id);
    CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
    CREATE TABLE heir () INHERITS (cards);
    CREATE MATERIALIZED VIEW kept AS SELECT id FROM cards;
    CREATE VIEW over_kept AS SELECT id FROM kept;
    CREATE VIEW of_today AS SELECT id FROM cards WHERE at > current_date;
    CREATE FOREIGN DATA WRAPPER nothing;
    CREATE SERVER nowhere FOREIGN DATA WRAPPER nothing;
    CREATE FOREIGN TABLE far (id int) SERVER nowhere;
    CREATE VIEW over_far AS SELECT f.id FROM far f JOIN cards USING (id);
    CREATE SEQUENCE numbers;
    CREATE FUNCTION secret() RETURNS int LANGUAGE sql STABLE AS 'SELECT count(*)::int FROM w.cards';
    CREATE FUNCTION twice(n int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT n * 2';";

#[test]
fn what_no_trigger_sees_is_refused() {
    on_one_thread(async {
        let place = Place::make().await;
        let client = connect(&place.url).await;
        client.batch_execute(TABLES).await.unwrap();
        for (sql, why) in [
            ("SELECT id FROM kept", "materialised view"),
            ("SELECT id FROM over_kept", "materialised view"),
            ("SELECT id FROM far", "foreign table"),
            ("SELECT id FROM over_far", "foreign table"),
            ("SELECT id FROM parted_1", "a partition or an heir"),
            ("SELECT id FROM heir", "a partition or an heir"),
            ("SELECT relname FROM pg_class", "part of the catalogue"),
            ("SELECT table_name FROM information_schema.tables", "part of the catalogue"),
            ("SELECT last_value FROM numbers", "no table"),
            ("SELECT id FROM of_today", "current_date"),
            ("SELECT id FROM cards WHERE at < now()", "now()"),
            ("SELECT id FROM cards WHERE at < timestamptz 'now'", "'now'"),
            ("SELECT id FROM cards WHERE at < $$ Tomorrow 10:00 $$::timestamptz", "Tomorrow"),
            ("SELECT id FROM cards ORDER BY random()", "random()"),
            ("SELECT id FROM cards TABLESAMPLE BERNOULLI (10)", "draws lots"),
            ("SELECT xmin, id FROM cards", "`xmin`"),
            ("SELECT c.ctid FROM cards c", "`ctid`"),
            ("SELECT secret()", "may read anything"),
            ("SELECT current_setting('app.tenant')", "current_setting()"),
            ("SELECT id FROM cards WHERE title = current_user", "current_user"),
            ("SELECT pg_sleep(0)", "pg_sleep()"),
            ("SELECT query_to_xml('SELECT 1', true, true, '')", "query_to_xml()"),
        ] {
            match Catalogue::read(&client, sql).await.unwrap() {
                Ok(reading) => panic!("{sql} was taken: {reading:?}"),
                Err(refused) => assert!(refused.0.contains(why), "{sql}: {}", refused.0),
            }
        }
        for sql in [
            "SELECT twice(id) FROM cards",
            "SELECT id FROM cards WHERE title = 'do it now, or tomorrow afternoon'",
            "SELECT id FROM parted",
            "SELECT date_trunc('day', at) FROM cards",
        ] {
            Catalogue::read(&client, sql).await.unwrap().unwrap_or_else(|why| panic!("{sql}: {}", why.0));
        }
    });
}

#[test]
fn what_others_may_not_see_or_watch_is_refused() {
    on_one_thread(async {
        let place = Place::make().await;
        let client = connect(&place.url).await;
        client.batch_execute("DROP SCHEMA IF EXISTS w CASCADE; CREATE SCHEMA w").await.unwrap();
        // Roles belong to the whole server.
        let role = format!("reader_{}", uuid::Uuid::now_v7().simple());
        client
            .batch_execute(&format!(
                "CREATE TABLE open (id int); CREATE TABLE guarded (id int); ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
                 CREATE ROLE {role}; GRANT USAGE ON SCHEMA w TO {role}; GRANT SELECT ON open, guarded TO {role};
                 GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO {role}; GRANT CREATE ON SCHEMA public TO {role}; SET ROLE {role}"
            ))
            .await
            .unwrap();
        let guarded = Catalogue::read(&client, "SELECT id FROM guarded").await.unwrap().unwrap_err();
        assert!(guarded.0.contains("row-level security"), "{}", guarded.0);
        let reading = Catalogue::read(&client, "SELECT id FROM open").await.unwrap().unwrap();
        let capture = Capture { table: &reading.sources[0].table, keys: &BTreeSet::new() };
        let refused = capture.ensure(&client).await.unwrap_err();
        assert!(!refused.is_retryable() && refused.message().contains("a trigger on it cannot be made"), "{refused:?}");
        client.batch_execute(&format!("RESET ROLE; DROP OWNED BY {role}; DROP ROLE {role}")).await.unwrap();
    });
}

/// What the engine looks for, so that it reads a statement anew: each of these leaves a statement as it was, and changes what it reads.
#[test]
fn names_that_stand_for_something_else_have_another_mark() {
    on_one_thread(async {
        let place = Place::make().await;
        let client = connect(&place.url).await;
        client
            .batch_execute(
                "DROP SCHEMA IF EXISTS w CASCADE; CREATE SCHEMA w; CREATE TABLE a (id int); CREATE TABLE b (id int);
                 CREATE VIEW inner_ AS SELECT id FROM a; CREATE VIEW outer_ AS SELECT id FROM inner_",
            )
            .await
            .unwrap();
        let marks = async || {
            let mut marks = Catalogue::read(&client, "SELECT id FROM outer_").await.unwrap().unwrap().marks;
            marks.sort();
            marks
        };
        let mut before = marks().await;
        assert_eq!(before.len(), 3, "{before:?}");
        for harmless in
            ["INSERT INTO a SELECT generate_series(1, 100)", "ANALYZE a", "CREATE INDEX ON a (id)", "TRUNCATE a"]
        {
            client.batch_execute(harmless).await.unwrap();
            assert_eq!(marks().await, before, "{harmless}");
        }
        for change in [
            "CREATE OR REPLACE VIEW inner_ AS SELECT id FROM b",
            "CREATE OR REPLACE VIEW outer_ AS SELECT id FROM inner_ WHERE id > 0",
            "ALTER TABLE b RENAME TO c; ALTER TABLE a RENAME TO b",
            "CREATE TABLE heir () INHERITS (c)",
            "ALTER TABLE c ADD more int",
        ] {
            client.batch_execute(change).await.unwrap();
            let after = marks().await;
            assert_ne!(after, before, "{change}");
            before = after;
        }
    });
}
