use std::collections::HashSet;
use std::time::Duration;

use forge_core::Error;
use jsonwebtoken::{Algorithm as Library, EncodingKey};
use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::config::{Algorithm, AuthConfig, PreviousSecret, PublicKey};

use super::*;

/// Refused, with this reason in the log and nothing of it for the caller.
#[track_caller]
fn refused(error: &Error, why: &str) {
    assert_eq!((error.code(), error.http_status()), ("UNAUTHORIZED", 401));
    assert!(reason(error).contains(why), "expected `{why}`, found `{}`", reason(error));
    assert_eq!(error.message(), "the token is not valid; sign in again", "the caller learns no more");
}

async fn refuses(config: &AuthConfig, token: &str, why: &str) {
    let verifier = verifier(config);
    refused(&verifier.verify(token).await.unwrap_err(), why);
    assert_eq!(verifier.cached(), 0, "what is refused takes no room");
}

fn with(change: impl FnOnce(&mut Value)) -> Value {
    let mut changed = claims();
    change(&mut changed);
    changed
}

fn public(kid: Option<&str>, algorithm: Algorithm, pem: &str) -> PublicKey {
    PublicKey { kid: kid.map(Into::into), algorithm, pem: Some(pem.into()), file: None }
}

fn rsa_config() -> AuthConfig {
    let mut config = config();
    config.algorithms = vec![Algorithm::HS256, Algorithm::RS256];
    config.public_keys = vec![public(Some("a"), Algorithm::RS256, RSA_A_PUBLIC)];
    config
}

#[tokio::test]
async fn a_good_token_says_who_calls() {
    let principal = verifier(&config()).verify(&hs256(&claims())).await.unwrap();
    let user = principal.auth.require_user().unwrap();
    assert_eq!((user.id.as_str(), user.roles.as_slice()), ("ada", &["editor".to_owned()][..]));
    assert_eq!(Value::Object(user.claims.clone()), json!({ "tenant": "acme" }));
    assert_eq!((principal.expires_at, principal.session), (NOW + 60, None));
}

#[tokio::test]
async fn every_algorithm_works_with_its_own_kind_of_key() {
    let rsa = || EncodingKey::from_rsa_pem(RSA_A.as_bytes()).unwrap();
    let long = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+-".to_owned();
    let hmac = || EncodingKey::from_secret(long.as_bytes());
    for (algorithm, library, key, public_pem) in [
        (Algorithm::HS256, Library::HS256, hmac(), None),
        (Algorithm::HS384, Library::HS384, hmac(), None),
        (Algorithm::HS512, Library::HS512, hmac(), None),
        (Algorithm::RS256, Library::RS256, rsa(), Some(RSA_A_PUBLIC)),
        (Algorithm::RS384, Library::RS384, rsa(), Some(RSA_A_PUBLIC)),
        (Algorithm::RS512, Library::RS512, rsa(), Some(RSA_A_PUBLIC)),
        (Algorithm::PS256, Library::PS256, rsa(), Some(RSA_A_PUBLIC)),
        (Algorithm::PS384, Library::PS384, rsa(), Some(RSA_A_PUBLIC)),
        (Algorithm::PS512, Library::PS512, rsa(), Some(RSA_A_PUBLIC)),
        (Algorithm::ES256, Library::ES256, EncodingKey::from_ec_pem(P256.as_bytes()).unwrap(), Some(P256_PUBLIC)),
        (Algorithm::ES384, Library::ES384, EncodingKey::from_ec_pem(P384.as_bytes()).unwrap(), Some(P384_PUBLIC)),
        (Algorithm::EdDSA, Library::EdDSA, EncodingKey::from_ed_pem(ED.as_bytes()).unwrap(), Some(ED_PUBLIC)),
    ] {
        let mut config = AuthConfig { algorithms: vec![algorithm], ..config() };
        config.secret = Some(long.as_str().into());
        config.public_keys = public_pem.map(|pem| public(None, algorithm, pem)).into_iter().collect();
        let token = signed(&json!({ "alg": format!("{algorithm:?}") }), &claims(), &key, library);
        let principal = verifier(&config).verify(&token).await.unwrap_or_else(|error| panic!("{algorithm:?}: {error:?}"));
        assert_eq!(principal.auth.user_id(), Some("ada"));
        // The same token where its algorithm is not allowed.
        let other = if algorithm == Algorithm::HS256 { Algorithm::HS384 } else { Algorithm::HS256 };
        refuses(
            &AuthConfig { algorithms: vec![other], public_keys: Vec::new(), ..config },
            &token,
            "is not in security.auth.algorithms",
        )
        .await;
    }
}

#[tokio::test]
async fn forged_and_mangled_tokens_are_refused() {
    let good = hs256(&claims());
    let parts: Vec<&str> = good.split('.').collect();
    let (header, payload, signature) = (parts[0], parts[1], parts[2]);
    let forged_claims = part(&with(|c| c["sub"] = "root".into()));
    let other_key = signed(
        &json!({ "alg": "HS256" }),
        &claims(),
        &EncodingKey::from_secret(b"another secret of thirty-two byte"),
        Library::HS256,
    );
    for (token, why) in [
        (other_key, "its signature is wrong"),
        (format!("{header}.{forged_claims}.{signature}"), "its signature is wrong"),
        (format!("{header}.{payload}.{}", &signature[..40]), "its signature is wrong"),
        (format!("{header}.{payload}.{signature}="), "its signature is wrong"),
        (format!("{header}.{payload}."), "it has no signature"),
        (format!("{header}.{payload}"), "three parts"),
        (format!("{good}.x"), "three parts"),
        (format!("{good} "), "its signature is wrong"),
        (format!("{}.{payload}.{signature}", part(&json!({ "alg": "none" }))), "`none` is not in"),
        (format!("{}.{payload}.", part(&json!({ "alg": "none" }))), "no signature"),
        (format!("{}.{payload}.{signature}", part(&json!({ "alg": "NONE" }))), "`NONE` is not in"),
        (format!("{}.{payload}.{signature}", part(&json!({ "alg": "hs256" }))), "`hs256` is not in"),
        (format!("{}.{payload}.{signature}", part(&json!({ "typ": "JWT" }))), "header is not understood"),
        (format!("{}.{payload}.{signature}", part(&json!({ "alg": 5 }))), "header is not understood"),
        (format!("{}.{payload}.{signature}", part(&json!([]))), "header is not understood"),
        (format!("!!.{payload}.{signature}"), "header is not base64url"),
        (String::new(), "three parts"),
        ("..".into(), "no signature"),
        ("a.b.c".into(), "header is not"),
        ("ä.ö.ü".into(), "header is not base64url"),
        ("\0\u{1}.\0.\0".into(), "header is not base64url"),
        ("x".repeat(8 * 1024 + 1), "at most 8192"),
        (hs256(&with(|c| c["x"] = "y".repeat(8 * 1024).into())), "at most 8192"),
    ] {
        refuses(&config(), &token, why).await;
    }
    let secret = EncodingKey::from_secret(SECRET.as_bytes());
    for (header, why) in [
        (json!({ "alg": "HS256", "crit": ["exp"] }), "demands extensions"),
        (json!({ "alg": "HS256", "typ": "dpop+jwt" }), "its type is `dpop+jwt`"),
        (json!({ "alg": "HS256", "kid": "unknown" }), "there is no HS256 key for a token with the key id `unknown`"),
        (json!({ "alg": "HS256", "kid": "a\n\u{202e}b" }), "key id `a\\n\\u{202e}b`"),
        (json!({ "alg": "HS256", "kid": 7 }), "header is not understood"),
    ] {
        refuses(&config(), &signed(&header, &claims(), &secret, Library::HS256), why).await;
    }
    for header in [
        json!({ "alg": "HS256", "typ": "at+JWT" }),
        json!({ "alg": "HS256", "typ": "application/jwt", "jwk": {}, "jku": "https://evil.example" }),
    ] {
        verifier(&config()).verify(&signed(&header, &claims(), &secret, Library::HS256)).await.unwrap();
    }
}

#[tokio::test]
async fn a_public_key_is_never_a_secret_and_a_secret_never_a_public_key() {
    let config = rsa_config();
    verifier(&config).verify(&rs256(RSA_A, Some("a"), &claims())).await.unwrap();
    // The classic: everybody knows the public key, so sign with it as if it were the secret.
    let der = { URL_SAFE_NO_PAD.encode(RSA_A_PUBLIC) };
    for known in [RSA_A_PUBLIC.as_bytes(), RSA_A_PUBLIC.trim().as_bytes(), der.as_bytes()] {
        for kid in [None, Some("a")] {
            let mut header = json!({ "alg": "HS256" });
            if let Some(kid) = kid {
                header["kid"] = kid.into();
            }
            let token = signed(&header, &claims(), &EncodingKey::from_secret(known), Library::HS256);
            let why = if kid.is_some() { "there is no HS256 key" } else { "its signature is wrong" };
            refuses(&config, &token, why).await;
        }
    }
    // And the other way: an HMAC where an RSA signature is said to be.
    let claims = part(&claims());
    let message = format!("{}.{claims}", part(&json!({ "alg": "RS256" })));
    let mac = jsonwebtoken::crypto::sign(message.as_bytes(), &EncodingKey::from_secret(SECRET.as_bytes()), Library::HS256)
        .unwrap();
    refuses(&config, &format!("{message}.{mac}"), "its signature is wrong").await;
    // Without HMAC in the list, the secret is no key at all.
    let rsa_only = AuthConfig { algorithms: vec![Algorithm::RS256], ..config };
    refuses(&rsa_only, &hs256(&super::claims()), "`HS256` is not in").await;
}

#[tokio::test]
async fn keys_are_told_apart_by_their_ids() {
    let mut config = rsa_config();
    config.public_keys.push(public(Some("b"), Algorithm::RS256, RSA_B_PUBLIC));
    for (pem, kid, fine) in [
        (RSA_A, Some("a"), true),
        (RSA_B, Some("b"), true),
        (RSA_A, Some("b"), false),
        (RSA_A, None, true),
        (RSA_B, None, true),
        (RSA_A, Some("c"), false),
    ] {
        assert_eq!(verifier(&config).verify(&rs256(pem, kid, &claims())).await.is_ok(), fine, "{kid:?}");
    }
    // A key without an id serves tokens that name one which nobody has.
    config.public_keys = vec![public(None, Algorithm::RS256, RSA_A_PUBLIC)];
    verifier(&config).verify(&rs256(RSA_A, Some("whatever"), &claims())).await.unwrap();
    assert!(verifier(&config).verify(&rs256(RSA_B, Some("whatever"), &claims())).await.is_err());
}

#[test]
fn keys_that_cannot_be_used_are_found_at_start() {
    for (algorithm, pem, why) in [
        (Algorithm::RS256, "nonsense", "cannot be understood"),
        (Algorithm::RS256, RSA_A, "is a private key"),
        (Algorithm::RS256, RSA_SMALL_PUBLIC, "fewer than 2048 bits"),
        (Algorithm::RS256, P256_PUBLIC, "cannot be understood"),
        (Algorithm::ES256, P384_PUBLIC, "does not fit"),
        (Algorithm::ES384, P256_PUBLIC, "does not fit"),
        (Algorithm::EdDSA, P256_PUBLIC, "cannot be understood"),
    ] {
        let config =
            AuthConfig { algorithms: vec![algorithm], public_keys: vec![public(Some("k"), algorithm, pem)], ..config() };
        let error = TokenVerifier::new(&config).unwrap_err();
        assert_eq!(error.code(), "CONFIG_AUTH_KEY");
        assert!(error.message().contains(why), "{algorithm:?}: {}", error.message());
    }
    let missing = PublicKey { file: Some("/nowhere/key.pem".into()), ..PublicKey::default() };
    let config = AuthConfig { algorithms: vec![Algorithm::RS256], public_keys: vec![missing], ..config() };
    assert!(TokenVerifier::new(&config).unwrap_err().message().contains("/nowhere/key.pem"));
}

#[tokio::test]
async fn times_are_kept_with_leeway() {
    let config = config();
    for (exp, nbf, expected) in [
        (json!(NOW + 1), Value::Null, "ok"),
        // The default leeway is 30 s: what ended less than that ago still counts.
        (json!(NOW - 29), Value::Null, "ok"),
        (json!(NOW - 30), Value::Null, "expired"),
        (json!((NOW - 29) as f64 + 0.5), Value::Null, "ok"),
        (json!(NOW - 100_000), Value::Null, "expired"),
        (json!(-5), Value::Null, "expired"),
        (json!(0), Value::Null, "expired"),
        (json!(1e300), Value::Null, "ok"),
        (json!(u64::MAX), Value::Null, "ok"),
        (json!(NOW + 60), json!(NOW + 30), "ok"),
        (json!(NOW + 60), json!(NOW + 31), "not valid yet"),
        (json!(NOW - 100), json!(NOW + 100), "not valid yet"),
        (json!((NOW + 60).to_string()), Value::Null, "its `exp` is not a number"),
        (Value::Null, Value::Null, "its `exp` is not a number"),
        (json!([NOW + 60]), Value::Null, "its `exp` is not a number"),
        (json!(NOW + 60), json!("soon"), "its `nbf` is not a number"),
    ] {
        let token = hs256(&with(|c| {
            c["exp"] = exp.clone();
            if !nbf.is_null() {
                c["nbf"] = nbf.clone();
            }
        }));
        let result = verifier(&config).verify(&token).await;
        match expected {
            "ok" => drop(result.unwrap_or_else(|error| panic!("{exp} {nbf}: {error:?}"))),
            "expired" => {
                let error = result.unwrap_err();
                assert_eq!(
                    (error.code(), error.message()),
                    ("UNAUTHORIZED", "the token has expired; sign in again or refresh it"),
                    "{exp}"
                );
            }
            why => refused(&result.unwrap_err(), why),
        }
    }
    refuses(&config, &hs256(&json!({ "sub": "ada" })), "it has no `exp`").await;
}

#[tokio::test]
async fn an_expired_forgery_is_only_invalid() {
    // "Expired" is said of genuine tokens alone; else it would tell a forger that the rest was right.
    let forged =
        signed(&json!({ "alg": "HS256" }), &with(|c| c["exp"] = 1.into()), &EncodingKey::from_secret(b"x"), Library::HS256);
    refuses(&config(), &forged, "its signature is wrong").await;
    let elsewhere = AuthConfig { audience: Some("us".into()), ..config() };
    refuses(&elsewhere, &hs256(&with(|c| c["exp"] = 1.into())), "no `aud`").await;
}

#[tokio::test]
async fn issuer_audience_subject_and_roles_must_be_right() {
    let strict = AuthConfig { issuer: Some("https://idp.example".into()), audience: Some("us".into()), ..config() };
    let fits = |change: fn(&mut Value)| {
        with(|c| {
            c["iss"] = "https://idp.example".into();
            c["aud"] = "us".into();
            change(c);
        })
    };
    verifier(&strict).verify(&hs256(&fits(|_| {}))).await.unwrap();
    verifier(&strict).verify(&hs256(&fits(|c| c["aud"] = json!(["them", "us"])))).await.unwrap();
    for (claims, why) in [
        (fits(|c| c["iss"] = "https://idp.example/".into()), "its issuer `https://idp.example/`"),
        (fits(|c| c["iss"] = json!(["https://idp.example"])), "no `iss`"),
        (fits(|c| drop(c.as_object_mut().unwrap().remove("iss"))), "no `iss`"),
        (fits(|c| c["aud"] = "them".into()), "its audience"),
        (fits(|c| c["aud"] = json!(["them"])), "its audience"),
        (fits(|c| c["aud"] = json!([])), "its audience"),
        (fits(|c| c["aud"] = json!({ "us": 1 })), "its audience"),
        (fits(|c| drop(c.as_object_mut().unwrap().remove("aud"))), "no `aud`"),
    ] {
        refuses(&strict, &hs256(&claims), why).await;
    }
    for (change, why) in [
        ((|c| drop(c.as_object_mut().unwrap().remove("sub"))) as fn(&mut Value), "it has no `sub`"),
        (|c| c["sub"] = Value::Null, "it has no `sub`"),
        (|c| c["sub"] = 7.into(), "not text"),
        (|c| c["sub"] = "".into(), "`sub` is empty"),
        (|c| c["sub"] = " \t".into(), "`sub` is empty"),
        (|c| c["sub"] = "a\0b".into(), "control characters"),
        (|c| c["sub"] = "x".repeat(513).into(), "longer than 512"),
        (|c| c["aud"] = "us".into(), "security.auth.audience is not set"),
        (|c| c["roles"] = "admin".into(), "not a list of texts"),
        (|c| c["roles"] = json!(["a", 1]), "not a list of texts"),
        (|c| c["role"] = json!(["a"]), "not a text"),
        (|c| c["roles"] = (0..101).map(|n| n.to_string()).collect(), "more than 100 roles"),
    ] {
        refuses(&config(), &hs256(&with(change)), why).await;
    }
    let both = verifier(&config()).verify(&hs256(&with(|c| c["role"] = "admin".into()))).await.unwrap();
    assert!(both.auth.has_role("editor") && both.auth.has_role("admin"));
    let neither = verifier(&config()).verify(&hs256(&json!({ "sub": "google|1", "exp": NOW + 9 }))).await.unwrap();
    assert_eq!((neither.auth.user_id(), neither.auth.user().unwrap().roles.len()), (Some("google|1"), 0));
    refuses(&config(), &hs256(&json!([])), "payload is not a JSON object").await;
}

#[tokio::test]
async fn secrets_are_changed_without_signing_everybody_out() {
    let old = config();
    let token = issuer(&old).issue(&Claims::builder("ada").build()).unwrap().token;
    let mut new = AuthConfig { secret: Some("q8Wu1nA5rZy2Mx9Sl4Oe7It0Kd3Cg6Hv".into()), ..config() };
    refuses(&new, &token, "there is no HS256 key for a token with the key id").await;
    new.previous_secrets =
        vec![PreviousSecret { secret: SECRET.into(), valid_until: jiff::Timestamp::from_second(NOW + 100).unwrap() }];
    let hands = Hands::at_now();
    let verifier = TokenVerifier::new(&new).unwrap().with_clock(hands.clock());
    verifier.verify(&token).await.unwrap();
    // Also when it is remembered, it ends with its key, long before it expires.
    hands.forward(99);
    verifier.verify(&token).await.unwrap();
    hands.forward(1);
    refused(&verifier.verify(&token).await.unwrap_err(), "there is no HS256 key");
    // What is issued now carries the new key's id.
    let fresh =
        TokenIssuer::new(&new).unwrap().with_clock(hands.clock()).issue(&Claims::builder("ada").build()).unwrap().token;
    verifier.verify(&fresh).await.unwrap();
    refuses(&old, &fresh, "there is no HS256 key").await;
}

#[tokio::test]
async fn a_remembered_token_is_judged_anew_each_time() {
    let hands = Hands::at_now();
    let verifier = TokenVerifier::new(&config()).unwrap().with_clock(hands.clock());
    let token = hs256(&with(|c| c["nbf"] = NOW.into()));
    let first = verifier.verify(&token).await.unwrap();
    let second = verifier.verify(&token).await.unwrap();
    assert!(Arc::ptr_eq(&first, &second), "the second time it is only looked up");
    assert_eq!(verifier.cached(), 1);
    hands.forward(-31);
    refused(&verifier.verify(&token).await.unwrap_err(), "not valid yet");
    hands.forward(31);
    verifier.verify(&token).await.unwrap();
    hands.forward(90);
    assert_eq!(verifier.verify(&token).await.unwrap_err().message(), "the token has expired; sign in again or refresh it");
    assert_eq!(verifier.cached(), 0);
}

#[tokio::test]
async fn the_memory_of_tokens_is_bounded() {
    let verifier = verifier(&config());
    for n in 0..11_000 {
        verifier.verify(&hs256(&with(|c| c["sub"] = n.to_string().into()))).await.unwrap();
    }
    assert!((9_000..=10_000).contains(&verifier.cached()), "{}", verifier.cached());
}

#[tokio::test]
async fn what_is_issued_is_accepted() {
    let config = AuthConfig { issuer: Some("us".into()), audience: Some("api".into()), ..config() };
    let session = Uuid::now_v7();
    let claims = Claims::builder("ada")
        .role("editor")
        .roles(["a", "b"])
        .claim("tenant", "acme")
        .session(session)
        .expires_in(Duration::from_secs(90))
        .build();
    let issued = issuer(&config).issue(&claims).unwrap();
    assert_eq!(issued.expires_at, NOW + 90);
    let principal = verifier(&config).verify(&issued.token).await.unwrap();
    let user = principal.auth.user().unwrap();
    assert_eq!((user.id.as_str(), user.roles.len(), principal.session), ("ada", 3, Some(session)));
    assert_eq!(user.claims["tenant"], "acme");
    assert!(!user.claims.contains_key("sid") && !user.claims.contains_key("iat") && !user.claims.contains_key("exp"));
    assert!(jsonwebtoken::decode_header(&issued.token).unwrap().kid.is_some());
    let pair = issuer(&config).issue_pair(&Claims::builder("ada").build()).unwrap();
    assert_eq!((pair.refresh.len(), pair.refresh_expires_at), (64, NOW + 30 * 86_400));
    // A refresh token is no access token.
    refuses(&config, &pair.refresh, "three parts").await;
    assert!(!format!("{pair:?}").contains(&pair.refresh) && !format!("{pair:?}").contains(&pair.access.token));
}

#[test]
fn what_nobody_could_accept_is_not_issued() {
    let issuer = issuer(&config());
    for claims in [
        Claims::builder("").build(),
        Claims::builder("a\nb").build(),
        Claims::builder("ada").claim("exp", 5).build(),
        Claims::builder("ada").claim("sid", "x").build(),
        Claims::builder("ada").roles((0..101).map(|n| n.to_string())).build(),
        Claims::builder("ada").claim("x", "y".repeat(8192)).build(),
    ] {
        assert_eq!(issuer.issue(&claims).unwrap_err().code(), "INTERNAL_ERROR");
    }
    for config in [AuthConfig { secret: None, ..config() }, AuthConfig { algorithms: vec![Algorithm::RS256], ..config() }] {
        assert_eq!(TokenIssuer::new(&config).unwrap_err().code(), "CONFIG_AUTH_ISSUER");
    }
}

#[tokio::test]
async fn a_session_that_ended_takes_its_tokens_with_it() {
    let (ended, alive) = (Uuid::now_v7(), Uuid::now_v7());
    let living = move |sessions: Vec<Uuid>| async move { Ok(sessions.into_iter().filter(|one| *one != ended).collect()) };
    let revocations = Arc::new(RevocationCache::new(living));
    let verifier = verifier(&config()).with_revocations(revocations);
    let token = |session| issuer(&config()).issue(&Claims::builder("ada").session(session).build()).unwrap().token;
    verifier.verify(&token(alive)).await.unwrap();
    refused(&verifier.verify(&token(ended)).await.unwrap_err(), "has ended");
    // A session id in somebody else's token is not one of ours.
    let config = rsa_config();
    let foreign =
        super::verifier(&config).with_revocations(Arc::new(RevocationCache::new(|_| async { Ok(HashSet::new()) })));
    let principal = foreign.verify(&rs256(RSA_A, Some("a"), &with(|c| c["sid"] = ended.to_string().into()))).await.unwrap();
    assert_eq!(principal.session, None);
    assert_eq!(principal.auth.user().unwrap().claims["sid"], ended.to_string());
    // While the question cannot be answered, nobody comes in by it, and nobody is signed out by it.
    let away = super::verifier(&config)
        .with_revocations(Arc::new(RevocationCache::new(|_| async { Err(Error::database_unavailable("away")) })));
    assert_eq!(away.verify(&token(alive)).await.unwrap_err().code(), "DATABASE_UNAVAILABLE");
}

proptest! {
    #[test]
    fn nothing_made_up_is_accepted_and_nothing_panics(token in "\\PC{0,300}|([A-Za-z0-9_-]{0,80}\\.){2}[A-Za-z0-9_-]{0,80}") {
        let error = futures_util::FutureExt::now_or_never(verifier(&rsa_config()).verify(&token)).unwrap().unwrap_err();
        prop_assert_eq!(error.code(), "UNAUTHORIZED");
    }

    #[test]
    fn a_token_with_one_byte_changed_is_another_token(at in 0usize..1000, byte in "[A-Za-z0-9_.-]") {
        let good = hs256(&claims());
        let at = at % good.len();
        let mut bytes = good.clone().into_bytes();
        bytes[at] = byte.as_bytes()[0];
        let changed = String::from_utf8(bytes).unwrap();
        let result = futures_util::FutureExt::now_or_never(verifier(&config()).verify(&changed)).unwrap();
        prop_assert_eq!(result.is_ok(), changed == good);
    }
}
