//! A database whose pools are busy, and one with a replica that is behind: a schema of its own stands in for that.

use super::*;
use crate::realtime::differential::{Place, config, on_one_thread};

/// The place's database with other settings.
fn with(place: &Place, edit: impl FnOnce(&mut DatabaseConfig)) -> Database {
    let mut config = config(&place.url).database;
    edit(&mut config);
    Database::new("tests", &config).unwrap()
}

#[test]
fn a_pool_whose_connections_are_all_lent_is_no_sign_of_a_server_that_is_away() {
    on_one_thread(async {
        let place = Place::make().await;
        let database = with(&place, |config| {
            config.pool_size = 2;
            config.pool_timeout = Duration::from_millis(10);
            config.health_check_timeout = Duration::from_secs(30);
            config.read_from_replica = true;
            config.replica_urls = vec![Secret::new(place.url.clone())];
        });
        let mut lent = Vec::new();
        for pool in [database.primary(), &database.0.replicas[0].pool] {
            for _ in 0..2 {
                lent.push(pool.get().await.unwrap());
            }
            assert!(pool.get().await.is_err(), "one is left");
        }
        assert!(database.check().await);
        let health = database.health();
        assert_eq!((health.primary, health.replicas_healthy), (true, 1));
        drop((lent, database));
        place.remove().await;
    });
}

#[test]
fn what_a_replica_fails_at_for_being_one_the_primary_is_asked() {
    on_one_thread(async {
        let place = Place::make().await;
        let schema = "CREATE TABLE public.arrived AS SELECT 1 AS n;
            CREATE TABLE public.widened AS SELECT 2 AS n;
            CREATE FUNCTION public.recovering() RETURNS int LANGUAGE sql AS 'SELECT 3';
            CREATE SCHEMA behind;
            CREATE TABLE behind.widened ();
            CREATE FUNCTION behind.recovering() RETURNS int LANGUAGE plpgsql AS $$ BEGIN
                RAISE EXCEPTION 'canceling statement due to conflict with recovery' USING ERRCODE = '40001';
            END $$";
        place.client.batch_execute(schema).await.unwrap();
        let database = with(&place, |config| {
            config.health_check_timeout = Duration::from_secs(30);
            config.read_from_replica = true;
            let more = if place.url.contains('?') { '&' } else { '?' };
            config.replica_urls = vec![Secret::new(format!("{}{more}options=-c%20search_path%3Dbehind", place.url))];
        });
        assert!(database.check().await);
        let deadline = Instant::now() + Duration::from_secs(60);
        for (text, wanted) in [("SELECT n FROM arrived", 1), ("SELECT n FROM widened", 2), ("SELECT recovering() AS n", 3)]
        {
            let replica = database.replica(0).expect("it is healthy");
            let shape = Shape::of(text);
            let answer = database.read(Some(&replica), &shape, &[], deadline).await.unwrap();
            assert_eq!(answer.rows[0].get::<_, i32>(0), wanted, "{text}");
            // What goes wrong only once rows are fetched is not seen when they are asked for.
            database.open(Some(&replica), &shape, &[], deadline).await.unwrap();
        }
        let replica = database.replica(0).expect("it is healthy");
        let why = database.read(Some(&replica), &Shape::of("SELECT n FROM nowhere"), &[], deadline).await.unwrap_err();
        assert!(why.message().contains("nowhere"), "{why}");
        drop((replica, database));
        place.remove().await;
    });
}
