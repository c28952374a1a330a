//! The check of models against tables: every difference is told, and what it says to write puts it right.

#![allow(clippy::unwrap_used, missing_docs, unreachable_pub, dead_code)]

#[path = "support/mod.rs"]
mod support;

use forge::prelude::*;
use forge::{App, Config, Database};
use forge_runtime::config::{Mode, Secret};

use crate::support::server::{connect, empty_database};

#[forge::forge_enum]
pub enum Size {
    Small,
    VeryLarge,
}

/// Crosses the wire only: no table has it.
#[forge::forge_enum]
pub enum Tone {
    Loud,
}

#[forge::model]
#[table(name = "things", schema = "shop")]
#[index(fields = ["owner", "place"])]
pub struct Thing {
    #[id]
    pub id: Uuid,
    #[unique]
    #[max_length = 20]
    pub code: String,
    #[indexed]
    pub owner: Uuid,
    pub place: i64,
    pub size: Size,
    pub sizes: Vec<Size>,
    pub note: Option<String>,
    pub extra: Json<Vec<i32>>,
    #[default = "now()"]
    pub made_at: Timestamp,
}

const FITTING: &str = r#"
    CREATE SCHEMA shop;
    CREATE TYPE size AS ENUM ('small', 'very_large');
    CREATE TABLE shop.things (
        id uuid PRIMARY KEY,
        code varchar(30) NOT NULL UNIQUE,
        owner uuid NOT NULL,
        place bigint NOT NULL,
        size size NOT NULL,
        sizes size[] NOT NULL,
        note varchar(5),
        extra json NOT NULL,
        made_at timestamptz NOT NULL,
        of_others text
    );
    CREATE INDEX by_owner ON shop.things (owner, place, id)"#;

/// What is done to a database that fits, the start of what is told about it, and what is told to write.
const MISTAKES: [(&str, &str, &str); 17] = [
    (
        "DROP TABLE shop.things",
        r#"model `Thing`: there is no table "shop"."things"; create it"#,
        "CREATE TABLE \"shop\".\"things\" (",
    ),
    (
        "DROP TABLE shop.things; DROP TYPE size",
        r#"enum `Size`: there is no enum type "size"; create it"#,
        r#"CREATE TYPE "size" AS ENUM ('small', 'very_large');"#,
    ),
    (
        "ALTER TABLE shop.things DROP COLUMN note",
        r#"model `Thing`: "shop"."things" has no column "note""#,
        r#"ALTER TABLE "shop"."things" ADD COLUMN "note" text;"#,
    ),
    (
        "ALTER TABLE shop.things DROP COLUMN extra",
        r#"model `Thing`: "shop"."things" has no column "extra""#,
        r#"ALTER TABLE "shop"."things" ADD COLUMN "extra" jsonb NOT NULL; -- where there are rows already, with a DEFAULT for them"#,
    ),
    (
        "ALTER TABLE shop.things ALTER COLUMN place TYPE integer",
        r#"model `Thing`: "place" of "shop"."things" is integer, which the model's bigint does not fit; change it in a migration, or make the field `i32`"#,
        r#"ALTER TABLE "shop"."things" ALTER COLUMN "place" TYPE bigint USING "place"::bigint;"#,
    ),
    (
        "ALTER TABLE shop.things ALTER COLUMN size TYPE text",
        r#"model `Thing`: "size" of "shop"."things" is text, which the model's "size" does not fit"#,
        r#"ALTER TABLE "shop"."things" ALTER COLUMN "size" TYPE "size" USING "size"::"size";"#,
    ),
    (
        "ALTER TABLE shop.things ALTER COLUMN sizes TYPE size USING sizes[1]",
        r#"model `Thing`: "sizes" of "shop"."things" is size, which the model's "size"[] does not fit"#,
        "",
    ),
    (
        "ALTER TABLE shop.things ALTER COLUMN code TYPE varchar(10)",
        r#"model `Thing`: "code" of "shop"."things" is character varying(10), which the model's varchar(20) does not fit"#,
        r#"ALTER TABLE "shop"."things" ALTER COLUMN "code" TYPE varchar(20) USING "code"::varchar(20);"#,
    ),
    (
        "ALTER TABLE shop.things ALTER COLUMN made_at TYPE timestamp",
        r#"model `Thing`: "made_at" of "shop"."things" is timestamp without time zone, which the model's timestamptz does not fit"#,
        r#"ALTER TABLE "shop"."things" ALTER COLUMN "made_at" TYPE timestamptz USING "made_at"::timestamptz;"#,
    ),
    (
        "ALTER TABLE shop.things ALTER COLUMN owner DROP NOT NULL",
        r#"model `Thing`: "owner" of "shop"."things" may be NULL, which the model cannot read"#,
        r#"ALTER TABLE "shop"."things" ALTER COLUMN "owner" SET NOT NULL;"#,
    ),
    (
        "ALTER TABLE shop.things ALTER COLUMN note SET NOT NULL",
        r#"model `Thing`: "note" of "shop"."things" can never be NULL, but the model's field is an `Option`"#,
        r#"ALTER TABLE "shop"."things" ALTER COLUMN "note" DROP NOT NULL;"#,
    ),
    (
        "ALTER TABLE shop.things DROP CONSTRAINT things_pkey",
        r#"model `Thing`: "id" is the model's id, but nothing makes it unique in "shop"."things""#,
        r#"ALTER TABLE "shop"."things" ADD PRIMARY KEY ("id");"#,
    ),
    (
        "ALTER TABLE shop.things DROP CONSTRAINT things_code_key; CREATE INDEX ON shop.things (code); \
         CREATE UNIQUE INDEX ON shop.things (lower(code)); CREATE UNIQUE INDEX ON shop.things (code, owner); \
         CREATE UNIQUE INDEX ON shop.things (code) WHERE place > 0",
        r#"model `Thing`: "code" is `#[unique]`, but "shop"."things" has no unique index on it alone and for all rows"#,
        r#"ALTER TABLE "shop"."things" ADD UNIQUE ("code");"#,
    ),
    (
        "DROP INDEX shop.by_owner; CREATE INDEX ON shop.things (owner)",
        r#"model `Thing`: "shop"."things" has no index that begins with (owner, place)"#,
        r#"CREATE INDEX "idx_things_owner_place" ON "shop"."things" ("owner", "place");"#,
    ),
    (
        "DROP INDEX shop.by_owner; CREATE INDEX ON shop.things (place, owner)",
        r#"model `Thing`: "shop"."things" has no index that begins with (owner)"#,
        r#"CREATE INDEX "idx_things_owner" ON "shop"."things" ("owner");"#,
    ),
    (
        "ALTER TYPE size RENAME VALUE 'very_large' TO 'huge'; ALTER TYPE size ADD VALUE 'x'; ALTER TYPE size RENAME VALUE 'x' TO 'y'",
        r#"enum `Size`: the type "size" has no value 'very_large'"#,
        r#"ALTER TYPE "size" ADD VALUE 'very_large';"#,
    ),
    (
        "ALTER TYPE size ADD VALUE 'it''s huge'",
        r#"enum `Size`: the type "size" has the value 'it's huge', which Rust cannot read"#,
        r#"ALTER TYPE "size" RENAME VALUE 'it''s huge' TO ..;"#,
    ),
];

/// What is told about a database, a piece for each difference: the words, and the SQL below them.
async fn told(app: &App, url: &str) -> Vec<(String, String)> {
    let mut config = Config::defaults(Mode::Test).database;
    config.url = Some(Secret::new(url));
    let checked = app.check(&Database::new("tests", &config).unwrap()).await;
    let Err(why) = checked else { return Vec::new() };
    assert_eq!(why.code(), "CHECK_FAILED");
    let mut pieces: Vec<(String, String)> = Vec::new();
    for line in why.message().lines() {
        match line.strip_prefix("    ") {
            None => pieces.push((line.to_owned(), String::new())),
            Some(sql) => {
                let (_, sql_so_far) = pieces.last_mut().unwrap();
                sql_so_far.push_str(sql);
                sql_so_far.push('\n');
            }
        }
    }
    pieces
}

#[tokio::test]
async fn every_difference_is_told_with_what_to_write() -> Result<()> {
    let app = App::linked(&[])?;
    for (change, words, sql) in MISTAKES {
        let database = empty_database().await?;
        let client = connect(database.url()).await;
        client.batch_execute(FITTING).await.unwrap();
        assert_eq!(told(&app, database.url()).await, [], "what fits is not mentioned");
        // A value of an enum may not be used in the transaction that adds it, so they go one by one.
        for statement in change.split("; ") {
            client.batch_execute(statement).await.unwrap_or_else(|why| panic!("{statement}: {why:?}"));
        }
        let pieces = told(&app, database.url()).await;
        let piece = pieces.iter().find(|(told, _)| told.starts_with(words));
        let (_, written) = piece.unwrap_or_else(|| panic!("{change}: {pieces:#?}"));
        assert!(written.starts_with(sql), "{change}: {written}");
        // Where it can be done without thinking, doing all of it is enough.
        let by_hand = |sql: &str| sql.contains(" TO ..") || sql.is_empty();
        if !pieces.iter().any(|(_, sql)| by_hand(sql)) && !change.contains("USING") {
            for (_, sql) in &pieces {
                client.batch_execute(sql).await.unwrap_or_else(|why| panic!("{change}: {sql}: {why:?}"));
            }
            assert_eq!(told(&app, database.url()).await, [], "{change}: what was written is enough");
        }
        drop(client);
        database.remove().await?;
    }
    Ok(())
}

#[tokio::test]
async fn all_differences_are_told_at_once_and_views_promise_less() -> Result<()> {
    let app = App::linked(&[])?;
    let database = empty_database().await?;
    let client = connect(database.url()).await;
    client.batch_execute(FITTING).await.unwrap();
    let change = "ALTER TABLE shop.things DROP COLUMN note, ALTER COLUMN owner DROP NOT NULL, DROP COLUMN place";
    client.batch_execute(change).await.unwrap();
    let pieces = told(&app, database.url()).await;
    // An index that needs a missing column is not told on top of it.
    assert_eq!(pieces.len(), 4, "{pieces:#?}");
    client
        .batch_execute(
            "DROP TABLE shop.things;
             CREATE VIEW shop.things AS SELECT gen_random_uuid() AS id, 'x'::text AS code, gen_random_uuid() AS owner, 1::bigint AS place,
             'small'::size AS size, '{}'::size[] AS sizes, NULL::text AS note, '[]'::jsonb AS extra, now() AS made_at",
        )
        .await
        .unwrap();
    assert_eq!(told(&app, database.url()).await, []);
    database.remove().await
}
