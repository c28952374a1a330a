//! What no single key can know: keys that contradict each other, and what production refuses.

use std::collections::HashSet;

use forge_core::human::format_duration;

use super::database_url::TlsMode;
use super::mistakes::{At, Mistakes};
use super::{AuthConfig, Config, MailConfig, Role, Secret};

const INVALID: &str = "CONFIG_INVALID_VALUE";
const UNSAFE: &str = "CONFIG_UNSAFE";

/// Adds everything that is wrong. `place` says where a key was written.
pub(super) fn check(config: &Config, place: &dyn Fn(&str) -> At, mistakes: &mut Mistakes) {
    let mut report =
        |key: &str, code: &'static str, text: String| mistakes.add(place(key), code, format!("`{key}`: {text}"));
    contradictions(config, &mut report);
    auth(&config.security.auth, config.mode.is_production(), &mut report);
    for (key, text) in config.admin.problems(config.security.auth.secret.as_ref()) {
        report(key, INVALID, text);
    }
    if config.mode.is_production() {
        production(config, &mut report);
    }
}

type Report<'a> = &'a mut dyn FnMut(&str, &'static str, String);

fn contradictions(config: &Config, report: Report<'_>) {
    let database = &config.database;
    if database.shared_connections > 0 && database.shared_statement_timeout >= database.statement_timeout {
        report("database.shared_statement_timeout", INVALID, "must be below database.statement_timeout".into());
    }
    if database.health_check_timeout > database.health_check_interval {
        report("database.health_check_timeout", INVALID, "must not be above database.health_check_interval".into());
    }
    if database.read_from_replica && database.replica_urls.is_empty() {
        report("database.read_from_replica", INVALID, "is true, but database.replica_urls names no replica".into());
    }
    if config.node.roles.is_empty() {
        report("node.roles", INVALID, "is empty; a node needs at least one of gateway, function, worker, scheduler".into());
    }
    if config.node.has(Role::Gateway) && !config.node.has(Role::Function) {
        let text = "has `gateway` without `function`; a gateway runs the functions that it is asked for, so it needs both";
        report("node.roles", INVALID, text.into());
    }
    if config.cluster.dead_threshold < config.cluster.heartbeat_interval * 3 {
        let text =
            "must be at least three times cluster.heartbeat_interval, or a node that misses one beat is taken for dead";
        report("cluster.dead_threshold", INVALID, text.into());
    }
    let least = config.drain_max() + super::HAND_BACK_MAX;
    if let Some(said) = config.shutdown.force_after.filter(|said| *said < least) {
        let drain = if config.node.has(Role::Worker) { " or worker.drain_timeout, whichever is longer," } else { "" };
        let text = format!(
            "must not be below {}: shutdown.unready_for, shutdown.request_drain_timeout{drain} and {} for handing back what is left; \
             the process would end ({}) while that goes on. Leave it out, and it follows from them",
            format_duration(least),
            format_duration(super::HAND_BACK_MAX),
            format_duration(said)
        );
        report("shutdown.force_after", INVALID, text);
    }
    if let Some(Err(why)) = config.mail.url.as_ref().map(MailConfig::check_url) {
        report("mail.url", INVALID, why.into());
    }
    let cookie = &config.security.auth.cookie_name;
    if !config.mode.is_production() && (cookie.starts_with("__Host-") || cookie.starts_with("__Secure-")) {
        let text = "begins with a prefix that browsers accept with TLS only; give it in production alone, \
                    for example by FORGE_SECURITY_AUTH_COOKIE_NAME";
        report("security.auth.cookie_name", INVALID, text.into());
    }
}

fn auth(auth: &AuthConfig, production: bool, report: Report<'_>) {
    if auth.algorithms.is_empty() {
        report("security.auth.algorithms", INVALID, "is empty, so that no token could ever be valid".into());
    }
    let least = auth.algorithms.iter().map(|algorithm| algorithm.least_secret()).max().unwrap_or(0);
    let shared = least > 0;
    let keyed = auth.algorithms.iter().any(|algorithm| !algorithm.is_hmac());
    if keyed && auth.public_keys.is_empty() && auth.jwks_url.is_none() {
        let text = "has algorithms that are checked with public keys, \
                    but neither security.auth.public_keys nor security.auth.jwks_url is set";
        report("security.auth.algorithms", INVALID, text.into());
    }
    let mut kids = HashSet::new();
    for key in &auth.public_keys {
        if !auth.algorithms.contains(&key.algorithm) {
            let text = format!("has a key for {:?}, which security.auth.algorithms does not list", key.algorithm);
            report("security.auth.public_keys", INVALID, text);
        }
        if let Some(kid) = key.kid.as_deref().filter(|kid| !kids.insert(*kid)) {
            report("security.auth.public_keys", INVALID, format!("has two keys with the id `{}`", kid.escape_debug()));
        }
    }
    if auth.refresh_token_ttl < auth.access_token_ttl {
        report("security.auth.refresh_token_ttl", INVALID, "must not be below security.auth.access_token_ttl".into());
    }
    if !production {
        return;
    }
    match &auth.secret {
        None if shared => {
            let text = "is not set; production does not start without it. \
                        Make one with `openssl rand -base64 48` and pass it as FORGE_SECRET";
            report("security.auth.secret", UNSAFE, text.into());
        }
        Some(secret) => strength("security.auth.secret", secret, least.max(32), report),
        None => {}
    }
    for previous in &auth.previous_secrets {
        strength("security.auth.previous_secrets", &previous.secret, least.max(32), report);
    }
}

/// A secret that can be guessed makes every token forgeable, offline and unnoticed.
fn strength(key: &str, secret: &Secret, least: usize, report: Report<'_>) {
    let bytes = secret.expose().as_bytes();
    let distinct = bytes.iter().collect::<HashSet<_>>().len();
    if bytes.len() < least {
        let text = format!(
            "has {} bytes; production needs {least} random ones. Make one with `openssl rand -base64 48`",
            bytes.len()
        );
        report(key, UNSAFE, text);
    } else if distinct < 8 {
        report(
            key,
            UNSAFE,
            format!(
                "has only {distinct} different characters, so it is not random. Make one with `openssl rand -base64 48`"
            ),
        );
    }
}

fn production(config: &Config, report: Report<'_>) {
    if let Some(Ok(false)) = config.mail.url.as_ref().map(MailConfig::check_url) {
        let text = "leads to another host without TLS, so that mail and the password could be read on the way; \
                    begin it with smtps://, or end it with ?tls=required";
        report("mail.url", UNSAFE, text.into());
    }
    if config.security.cors.allowed_origins.iter().any(|origin| origin == "*") {
        report("security.cors.allowed_origins", UNSAFE, "has `*`, which lets every web page call; list the origins".into());
    }
    for (at, (_, token)) in config.admin.all_tokens().enumerate() {
        let key = if at == 0 && config.admin.token.is_some() { "admin.token" } else { "admin.tokens" };
        strength(key, token, 32, report);
    }
    let database = &config.database;
    if database.url.is_none() {
        report("database.url", INVALID, "is not set; production needs it. Pass it as DATABASE_URL".into());
    }
    // Said aloud, it is somebody's decision: a private network, a tunnel.
    if database.tls == Some(TlsMode::Disable) {
        return;
    }
    let urls = database.url.iter().map(|url| ("database.url", url));
    let urls = urls.chain(database.direct_url.iter().map(|url| ("database.direct_url", url)));
    let urls = urls.chain(database.replica_urls.iter().map(|url| ("database.replica_urls", url)));
    for (key, url) in urls {
        match database.endpoint(url) {
            Ok(endpoint) if endpoint.local || matches!(endpoint.tls, TlsMode::Require | TlsMode::VerifyFull) => {}
            Ok(_) => {
                let text = "leads to another host, and the connection could be without TLS; set database.tls to \"verify-full\" \
                            or \"require\", or say database.tls = \"disable\" if the network is trusted";
                report(key, UNSAFE, text.into());
            }
            Err(error) => report(key, INVALID, error.message().into()),
        }
    }
}
