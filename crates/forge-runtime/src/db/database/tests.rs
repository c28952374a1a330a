//! A database whose pools are busy.

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
