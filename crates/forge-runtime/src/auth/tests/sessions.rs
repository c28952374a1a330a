use std::time::Duration;

use tokio_postgres::{Client, GenericClient};
use uuid::Uuid;

use super::database::{testing_client, testing_clients};
use super::*;

/// Sessions on the system's clock, as the database has no other.
fn sessions(config: &AuthConfig) -> Sessions {
    Sessions::new(config, TokenIssuer::new(config).unwrap()).unwrap()
}

async fn sign_in(sessions: &Sessions, client: &impl GenericClient, user: &str) -> SessionTokens {
    sessions
        .create(client, &Claims::builder(user).role("editor").claim("tenant", "acme").build(), &SessionMeta::default())
        .await
        .unwrap()
}

/// The living sessions of a user, as `ctx.sessions()` reads them.
async fn living(client: &Client, user: &str) -> Vec<SessionInfo> {
    let rows = client.query(include_str!("../sql/list_sessions.sql"), &[&user]).await.unwrap();
    rows.iter().map(|row| SessionInfo::from_row(row).unwrap()).collect()
}

fn tokens(refreshed: Refreshed) -> SessionTokens {
    refreshed.into_tokens().unwrap()
}

/// Makes the last rotation older than the time in which it is answered once more.
async fn let_grace_pass(client: &Client) {
    client.batch_execute("UPDATE forge_sessions SET rotated_at = rotated_at - interval '11 seconds'").await.unwrap();
}

#[tokio::test]
async fn a_session_is_created_refreshed_and_ended() {
    let (client, config) = (testing_client().await, config());
    let sessions = sessions(&config);
    let verifier = TokenVerifier::new(&config).unwrap();
    let meta = SessionMeta { user_agent: Some("x\0".repeat(400)), ip: Some("::ffff:1.2.3.4".parse().unwrap()) };
    let first = sessions
        .create(&client, &Claims::builder("ada").role("editor").claim("tenant", "acme").build(), &meta)
        .await
        .unwrap();
    let principal = verifier.verify(&first.access).await.unwrap();
    assert_eq!((principal.session, principal.auth.user_id()), (Some(first.session_id), Some("ada")));

    let second = tokens(sessions.refresh(&client, &first.refresh).await.unwrap());
    assert_ne!(second.refresh, first.refresh);
    assert_eq!(second.session_id, first.session_id);
    let principal = verifier.verify(&second.access).await.unwrap();
    assert!(principal.auth.has_role("editor"));
    assert_eq!(principal.auth.user().unwrap().claims["tenant"], "acme");

    let list = living(&client, "ada").await;
    assert_eq!(list.len(), 1);
    assert_eq!(
        (list[0].id, list[0].ip, list[0].user_agent.as_ref().map(String::len)),
        (first.session_id, Some("1.2.3.4".parse().unwrap()), Some(256))
    );
    assert!(!Sessions::is_revoked(&client, first.session_id).await.unwrap());

    assert!(sessions.revoke(&client, first.session_id).await.unwrap());
    assert!(!sessions.revoke(&client, first.session_id).await.unwrap(), "it ends once");
    assert!(Sessions::is_revoked(&client, first.session_id).await.unwrap());
    assert!(Sessions::is_revoked(&client, Uuid::now_v7()).await.unwrap(), "one that is not there is not alive");
    assert!(matches!(sessions.refresh(&client, &second.refresh).await.unwrap(), Refreshed::Invalid));
    assert!(living(&client, "ada").await.is_empty());
}

#[tokio::test]
async fn nothing_that_signs_in_is_stored() {
    let (client, sessions) = (testing_client().await, sessions(&config()));
    let first = sign_in(&sessions, &client, "ada").await;
    let second = tokens(sessions.refresh(&client, &first.refresh).await.unwrap());
    let row = client.query_one("SELECT forge_sessions::text FROM forge_sessions", &[]).await.unwrap();
    let row: String = row.get(0);
    for token in [&first.refresh, &second.refresh] {
        let bytes = URL_SAFE_NO_PAD.decode(token).unwrap();
        let hex: String = bytes[16..].iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(!row.contains(token.as_str()) && !row.contains(&hex));
    }
    assert!(!format!("{first:?} {sessions:?}").contains(&first.refresh));
}

#[tokio::test]
async fn an_answer_that_was_lost_is_given_again() {
    let (client, sessions) = (testing_client().await, sessions(&config()));
    let first = sign_in(&sessions, &client, "ada").await;
    let second = tokens(sessions.refresh(&client, &first.refresh).await.unwrap());
    let again = tokens(sessions.refresh(&client, &first.refresh).await.unwrap());
    assert_eq!(again.refresh, second.refresh);
    let third = tokens(sessions.refresh(&client, &second.refresh).await.unwrap());
    assert_ne!(third.refresh, second.refresh);
    // Also when the secret was changed in between.
    let changed = AuthConfig {
        secret: Some("q8Wu1nA5rZy2Mx9Sl4Oe7It0Kd3Cg6Hv".into()),
        previous_secrets: vec![crate::config::PreviousSecret { secret: SECRET.into(), valid_until: jiff::Timestamp::MAX }],
        ..config()
    };
    let again = tokens(super::sessions::sessions(&changed).refresh(&client, &second.refresh).await.unwrap());
    assert_eq!(again.refresh, third.refresh);
}

#[tokio::test]
async fn an_old_token_ends_the_whole_session() {
    let (client, sessions) = (testing_client().await, sessions(&config()));
    for rotations in [1, 2, 5] {
        let first = sign_in(&sessions, &client, "ada").await;
        let mut last = first.clone();
        for _ in 0..rotations {
            last = tokens(sessions.refresh(&client, &last.refresh).await.unwrap());
        }
        let_grace_pass(&client).await;
        let reused = sessions.refresh(&client, &first.refresh).await.unwrap();
        assert!(
            matches!(&reused, Refreshed::Reused { session_id, user_id } if *session_id == first.session_id && user_id == "ada"),
            "{reused:?}"
        );
        assert_eq!(reused.into_tokens().unwrap_err().code(), "UNAUTHORIZED");
        // Neither the thief nor the owner goes on with it.
        assert!(matches!(sessions.refresh(&client, &last.refresh).await.unwrap(), Refreshed::Invalid));
        assert!(Sessions::is_revoked(&client, first.session_id).await.unwrap());
    }
}

#[tokio::test]
async fn an_older_token_has_no_grace() {
    let (client, sessions) = (testing_client().await, sessions(&config()));
    let first = sign_in(&sessions, &client, "ada").await;
    let second = tokens(sessions.refresh(&client, &first.refresh).await.unwrap());
    tokens(sessions.refresh(&client, &second.refresh).await.unwrap());
    assert!(matches!(sessions.refresh(&client, &first.refresh).await.unwrap(), Refreshed::Reused { .. }));
}

#[tokio::test]
async fn a_made_up_token_harms_nobody() {
    let (client, sessions) = (testing_client().await, sessions(&config()));
    let first = sign_in(&sessions, &client, "ada").await;
    for made_up in [
        "",
        "x",
        &"A".repeat(64),
        &first.session_id.to_string(),
        &first.access,
        &format!("{}{}", first.session_id.simple(), "A".repeat(32)),
    ] {
        assert!(matches!(sessions.refresh(&client, made_up).await.unwrap(), Refreshed::Invalid), "{made_up}");
    }
    tokens(sessions.refresh(&client, &first.refresh).await.unwrap());
}

#[tokio::test]
async fn two_tabs_that_refresh_at_once_get_the_same() {
    let clients: [Client; 4] = testing_clients().await;
    let sessions = sessions(&config());
    let first = sign_in(&sessions, &clients[0], "ada").await;
    let answers =
        futures_util::future::join_all(clients.iter().map(|client| sessions.refresh(client, &first.refresh))).await;
    let answers: Vec<_> = answers.into_iter().map(|answer| tokens(answer.unwrap()).refresh).collect();
    assert!(answers.iter().all(|refresh| *refresh == answers[0]));
    tokens(sessions.refresh(&clients[0], &answers[0]).await.unwrap());
}

#[tokio::test]
async fn it_is_part_of_the_callers_transaction() {
    let (mut client, sessions) = (testing_client().await, sessions(&config()));
    let first = sign_in(&sessions, &client, "ada").await;
    let transaction = client.transaction().await.unwrap();
    tokens(sessions.refresh(&transaction, &first.refresh).await.unwrap());
    sign_in(&sessions, &transaction, "ada").await;
    transaction.rollback().await.unwrap();
    assert_eq!(living(&client, "ada").await.len(), 1);
    // Nothing happened to the token either.
    let_grace_pass(&client).await;
    tokens(sessions.refresh(&client, &first.refresh).await.unwrap());
}

#[tokio::test]
async fn sessions_end_by_themselves() {
    let client = testing_client().await;
    let config =
        AuthConfig { session_ttl: Duration::from_secs(3600), refresh_token_ttl: Duration::from_secs(7200), ..config() };
    let sessions = sessions(&config);
    let age = async |minutes: i32| {
        let sql = "UPDATE forge_sessions SET idle_until = idle_until - make_interval(mins => $1), \
                   expires_at = expires_at - make_interval(mins => $1), \
                   rotated_at = rotated_at - make_interval(mins => $1)";
        client.execute(sql, &[&minutes]).await.unwrap();
    };
    // Unused.
    let first = sign_in(&sessions, &client, "ada").await;
    age(61).await;
    assert!(matches!(sessions.refresh(&client, &first.refresh).await.unwrap(), Refreshed::Invalid));
    assert!(living(&client, "ada").await.is_empty());
    // Used all the time, and over all the same; its last access token ends with it.
    let mut last = sign_in(&sessions, &client, "bob").await;
    age(50).await;
    last = tokens(sessions.refresh(&client, &last.refresh).await.unwrap());
    age(50).await;
    last = tokens(sessions.refresh(&client, &last.refresh).await.unwrap());
    age(15).await;
    last = tokens(sessions.refresh(&client, &last.refresh).await.unwrap());
    assert!(last.access_expires_at <= last.session_expires_at.as_second());
    age(6).await;
    assert!(matches!(sessions.refresh(&client, &last.refresh).await.unwrap(), Refreshed::Invalid));
    assert!(Sessions::is_revoked(&client, last.session_id).await.unwrap());
    // Swept a month later.
    assert_eq!(Sessions::sweep(&client).await.unwrap(), 0);
    age(31 * 24 * 60).await;
    assert_eq!(Sessions::sweep(&client).await.unwrap(), 2);
}

#[tokio::test]
async fn all_sessions_of_a_user_end_and_only_theirs() {
    let (client, sessions) = (testing_client().await, sessions(&config()));
    for user in ["ada", "ada", "bob"] {
        sign_in(&sessions, &client, user).await;
    }
    assert_eq!(sessions.revoke_all(&client, "ada").await.unwrap(), 2);
    assert_eq!(sessions.revoke_all(&client, "ada").await.unwrap(), 0);
    assert_eq!(living(&client, "bob").await.len(), 1);
}

#[tokio::test]
async fn a_user_has_at_most_a_hundred_sessions() {
    let (client, sessions) = (testing_client().await, sessions(&config()));
    let first = sign_in(&sessions, &client, "ada").await;
    for _ in 0..100 {
        sign_in(&sessions, &client, "ada").await;
    }
    assert_eq!(living(&client, "ada").await.len(), 100);
    assert!(Sessions::is_revoked(&client, first.session_id).await.unwrap(), "the one unused longest made room");
}

#[tokio::test]
async fn changed_claims_show_with_the_next_refresh() {
    let (client, config) = (testing_client().await, config());
    let sessions = sessions(&config);
    let first = sign_in(&sessions, &client, "ada").await;
    assert_eq!(sessions.set_claims(&client, &Claims::builder("ada").role("viewer").build()).await.unwrap(), 1);
    let next = tokens(sessions.refresh(&client, &first.refresh).await.unwrap());
    let principal = TokenVerifier::new(&config).unwrap().verify(&next.access).await.unwrap();
    assert_eq!(principal.auth.user().unwrap().roles, ["viewer"]);
}

#[tokio::test]
async fn attempts_are_counted_per_account_and_address() {
    let clients: [Client; 4] = testing_clients().await;
    let client = &clients[0];
    let throttle = Throttle::new(&config());
    let (here, there) = (Some("1.2.3.4".parse().unwrap()), Some("5.6.7.8".parse().unwrap()));
    // Ten at the same time from several nodes: none is lost.
    let attempts = (0..10).map(|n| throttle.attempt(&clients[n % 4], "ada", here));
    assert!(futures_util::future::join_all(attempts).await.into_iter().all(|attempt| attempt.is_ok()));
    let refused = throttle.attempt(client, "ADA", here).await.unwrap_err();
    assert_eq!(refused.code(), "RATE_LIMITED");
    assert!((880..=900).contains(&refused.retry_after_s().unwrap()), "{:?}", refused.retry_after_s());
    throttle.attempt(client, "ada", there).await.unwrap();
    throttle.attempt(client, "bob", here).await.unwrap();
    // The window ends, or the user signs in.
    client
        .batch_execute("UPDATE forge_login_attempts SET window_start = window_start - interval '15 minutes'")
        .await
        .unwrap();
    throttle.attempt(client, "ada", here).await.unwrap();
    throttle.succeeded(client, "ada", here).await.unwrap();
    for _ in 0..10 {
        throttle.attempt(client, "ada", here).await.unwrap();
    }
    assert!(throttle.attempt(client, "ada", here).await.is_err());
    assert_eq!(throttle.sweep(client).await.unwrap(), 3);
}

#[tokio::test]
async fn one_address_cannot_try_every_account() {
    let clients: [Client; 1] = testing_clients().await;
    let client = &clients[0];
    let throttle = Throttle::new(&AuthConfig { login_attempts_per_address: 20, ..config() });
    let (here, there) = (Some("2001:db8::1".parse().unwrap()), Some("2001:db8:0:1::1".parse().unwrap()));
    // Those who know their password use nothing up.
    for n in 0..30 {
        throttle.attempt(client, &format!("known {n}"), here).await.unwrap();
        throttle.succeeded(client, &format!("known {n}"), here).await.unwrap();
    }
    for n in 0..20 {
        throttle.attempt(client, &format!("guessed {n}"), here).await.unwrap();
    }
    let refused = throttle.attempt(client, "another", here).await.unwrap_err();
    assert_eq!(refused.code(), "RATE_LIMITED");
    throttle.attempt(client, "another", there).await.unwrap();
    // Who cannot be told apart by address is not counted together.
    for n in 0..30 {
        throttle.attempt(client, &format!("unknown {n}"), None).await.unwrap();
    }
}
