//! How often one account can be tried from one address.
//!
//! Counted in PostgreSQL, so that all nodes count together. The key is account and address: an account cannot be locked
//! from outside by somebody who merely tries it, as its owner comes from another address. Of an IPv6 address the first 64
//! bits count. An address has a larger count of its own for all the accounts that it fails at, so that nobody tries one
//! password on each of them.
//!
//! [`attempt`](Throttle::attempt) must not run in the transaction of the mutation that checks the password: a wrong
//! password rolls that back, and the count with it. It takes a client of its own, before the password is looked at.

use std::net::IpAddr;

use forge_core::{Error, Result};
use sha2::{Digest as _, Sha256};
use tokio_postgres::GenericClient;
use tokio_postgres::types::{ToSql, Type};

use crate::config::AuthConfig;
use crate::db::error::from_driver;

use super::client_ip::block;
use super::sessions::{column, execute};

/// Counts attempts in the table `forge_login_attempts`.
#[derive(Debug, Clone)]
pub struct Throttle {
    attempts: i32,
    of_address: i32,
    window: f64,
}

impl Throttle {
    /// By the configured `security.auth.login_attempts`, `login_attempts_per_address` and `login_window`.
    pub fn new(config: &AuthConfig) -> Self {
        Self {
            attempts: i32::try_from(config.login_attempts).unwrap_or(i32::MAX),
            of_address: i32::try_from(config.login_attempts_per_address).unwrap_or(i32::MAX),
            window: config.login_window.as_secs_f64(),
        }
    }

    /// Counts an attempt, before the password is checked. The window begins with the first one. Upper and lower case of
    /// an account are the same, so that spelling it differently gains nothing.
    ///
    /// # Errors
    /// `RATE_LIMITED`, with the seconds until the window ends, when there were too many; those of the database.
    pub async fn attempt<C: GenericClient>(&self, client: &C, account: &str, ip: Option<IpAddr>) -> Result<()> {
        let (both, address) = (key(account, ip), address_key(ip));
        let keys: Vec<&[u8]> = [Some(&both), address.as_ref()].into_iter().flatten().map(<[u8; 32]>::as_slice).collect();
        let rows = client
            .query_typed(include_str!("sql/count_attempt.sql"), &[(&keys, Type::BYTEA_ARRAY), (&self.window, Type::FLOAT8)])
            .await
            .map_err(from_driver)?;
        let mut wait = None;
        for row in &rows {
            let most = if column::<Vec<u8>>(row, "key")? == both { self.attempts } else { self.of_address };
            if column::<i32>(row, "count")? > most {
                wait = wait.max(Some(u32::try_from(column::<i32>(row, "seconds_left")?).unwrap_or(1).max(1)));
            }
        }
        wait.map_or(Ok(()), |seconds| Err(Error::rate_limited("too many attempts to sign in; try again later", seconds)))
    }

    /// Forgets the attempts once the user has signed in. This one may run in the mutation's transaction.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn succeeded<C: GenericClient>(&self, client: &C, account: &str, ip: Option<IpAddr>) -> Result<()> {
        let (both, address) = (key(account, ip), address_key(ip));
        let address = address.as_ref().map(<[u8; 32]>::as_slice);
        let keys: &[(&(dyn ToSql + Sync), Type)] = &[(&both.as_slice(), Type::BYTEA), (&address, Type::BYTEA)];
        execute(client, include_str!("sql/forget_attempts.sql"), keys).await.map(drop)
    }

    /// Deletes up to 1,000 counts whose window is over; how many. Call it again while it returns 1,000.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn sweep<C: GenericClient>(&self, client: &C) -> Result<u64> {
        execute(client, include_str!("sql/sweep_attempts.sql"), &[(&self.window, Type::FLOAT8)]).await
    }
}

fn key(account: &str, ip: Option<IpAddr>) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(account.trim().to_lowercase());
    hash.update([0]);
    update_with(&mut hash, ip);
    hash.finalize().into()
}

/// Of an address alone. No account is called so.
fn address_key(ip: Option<IpAddr>) -> Option<[u8; 32]> {
    let mut hash = Sha256::new_with_prefix(b"\0any account\0");
    update_with(&mut hash, Some(ip?));
    Some(hash.finalize().into())
}

fn update_with(hash: &mut Sha256, ip: Option<IpAddr>) {
    match ip.map(block) {
        Some(IpAddr::V4(ip)) => hash.update(ip.octets()),
        Some(IpAddr::V6(ip)) => hash.update(&ip.octets()[..8]),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_as_the_same() {
        let of = |account: &str, ip: &str| key(account, Some(ip.parse().unwrap()));
        assert_eq!(of("Ada@Example.org ", "1.2.3.4"), of("ada@example.org", "::ffff:1.2.3.4"));
        assert_eq!(of("ada", "2001:db8:1:2::1"), of("ada", "2001:db8:1:2:ffff::9"));
        assert_ne!(of("ada", "2001:db8:1:2::1"), of("ada", "2001:db8:1:3::1"));
        assert_ne!(of("ada", "1.2.3.4"), of("ada", "1.2.3.5"));
        assert_ne!(of("ada", "1.2.3.4"), of("bob", "1.2.3.4"));
        assert_ne!(key("ada", None), of("ada", "0.0.0.0"));
    }
}
