use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::config::Algorithm;

use super::*;

/// An identity provider that answers every request with what it was told to.
struct Provider {
    url: String,
    requests: Arc<AtomicUsize>,
    answer: Arc<Mutex<(u16, String)>>,
    /// While false, requests are taken and not answered.
    open: watch::Sender<bool>,
}

impl Provider {
    async fn start(keys: &Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let requests = Arc::new(AtomicUsize::new(0));
        let answer = Arc::new(Mutex::new((200, keys.to_string())));
        let (open, gate) = watch::channel(true);
        let (count, said) = (Arc::clone(&requests), Arc::clone(&answer));
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let (count, said, mut gate) = (Arc::clone(&count), Arc::clone(&said), gate.clone());
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        let Ok(byte) = socket.read_u8().await else { return };
                        head.push(byte);
                    }
                    count.fetch_add(1, Ordering::SeqCst);
                    let _ = gate.wait_for(|open| *open).await;
                    let (status, body) = said.lock().unwrap().clone();
                    let text = format!(
                        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\nlocation: /elsewhere\r\n\
                         connection: close\r\ncontent-length: {}\r\n\r\n{body}",
                        body.len()
                    );
                    let _ = socket.write_all(text.as_bytes()).await;
                });
            }
        });
        Self { url, requests, answer, open }
    }

    fn says(&self, status: u16, body: impl ToString) {
        *self.answer.lock().unwrap() = (status, body.to_string());
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    fn config(&self) -> AuthConfig {
        AuthConfig {
            algorithms: vec![Algorithm::HS256, Algorithm::RS256, Algorithm::ES256],
            jwks_url: Some(self.url.clone()),
            ..config()
        }
    }

    fn verifier(&self, hands: &Hands) -> TokenVerifier {
        TokenVerifier::new(&self.config()).unwrap().with_clock(hands.clock())
    }
}

fn jwk(pem: &str, kid: &str) -> Value {
    let (key, algorithm) = if pem.contains(P256) {
        (EncodingKey::from_ec_pem(pem.as_bytes()).unwrap(), Library::ES256)
    } else {
        (EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap(), Library::RS256)
    };
    let mut jwk = serde_json::to_value(jsonwebtoken::jwk::Jwk::from_encoding_key(&key, algorithm).unwrap()).unwrap();
    jwk["kid"] = kid.into();
    jwk["use"] = "sig".into();
    jwk
}

fn set(keys: &[Value]) -> Value {
    json!({ "keys": keys })
}

/// A token that is valid for days, so that only its key can become a reason against it.
fn long(pem: &str, kid: &str) -> String {
    rs256(pem, Some(kid), &json!({ "sub": "ada", "exp": NOW + 1_000_000 }))
}

fn code(result: Result<Arc<Principal>, forge_core::Error>) -> String {
    result.map_or_else(|error| error.code().to_owned(), |_| "ok".into())
}

#[tokio::test]
async fn a_published_key_checks_a_token_and_is_fetched_once() {
    let provider = Provider::start(&set(&[jwk(RSA_A, "a"), jwk(P256, "p")])).await;
    let verifier = provider.verifier(&Hands::at_now());
    for _ in 0..3 {
        verifier.verify(&long(RSA_A, "a")).await.unwrap();
    }
    let ec = signed(
        &json!({ "alg": "ES256", "kid": "p" }),
        &claims(),
        &EncodingKey::from_ec_pem(P256.as_bytes()).unwrap(),
        Library::ES256,
    );
    verifier.verify(&ec).await.unwrap();
    assert_eq!(code(verifier.verify(&long(RSA_B, "a")).await), "UNAUTHORIZED");
    // Own tokens need nobody's keys.
    verifier.verify(&hs256(&claims())).await.unwrap();
    assert_eq!(provider.requests(), 1);
}

#[tokio::test]
async fn a_hundred_unknown_key_ids_cause_one_fetch() {
    let provider = Provider::start(&set(&[jwk(RSA_A, "a")])).await;
    let hands = Hands::at_now();
    let verifier = provider.verifier(&hands);
    verifier.preload().await.unwrap();
    hands.forward(30);
    let tokens: Vec<_> = (0..100).map(|n| long(RSA_B, &format!("made-up-{n}"))).collect();
    let answers = futures_util::future::join_all(tokens.iter().map(|token| verifier.verify(token))).await;
    assert!(answers.into_iter().all(|answer| code(answer) == "UNAUTHORIZED"));
    assert_eq!(provider.requests(), 2);
    // And none for the next 30 seconds, though a known key works on.
    hands.forward(29);
    assert_eq!(code(verifier.verify(&long(RSA_B, "made-up")).await), "UNAUTHORIZED");
    verifier.verify(&long(RSA_A, "a")).await.unwrap();
    assert_eq!(provider.requests(), 2);
    hands.forward(1);
    assert_eq!(code(verifier.verify(&long(RSA_B, "made-up")).await), "UNAUTHORIZED");
    assert_eq!(provider.requests(), 3);
}

#[tokio::test]
async fn a_new_key_is_found_by_its_id_and_a_withdrawn_one_is_forgotten() {
    let provider = Provider::start(&set(&[jwk(RSA_A, "a")])).await;
    let hands = Hands::at_now();
    let verifier = provider.verifier(&hands);
    verifier.verify(&long(RSA_A, "a")).await.unwrap();
    provider.says(200, set(&[jwk(RSA_B, "b")]));
    hands.forward(30);
    verifier.verify(&long(RSA_B, "b")).await.unwrap();
    // The old one was remembered as genuine; that ends with its key.
    assert_eq!(code(verifier.verify(&long(RSA_A, "a")).await), "UNAUTHORIZED");
    assert_eq!(provider.requests(), 2);
}

#[tokio::test]
async fn keys_are_fetched_again_when_they_are_an_hour_old() {
    let provider = Provider::start(&set(&[jwk(RSA_A, "a")])).await;
    let hands = Hands::at_now();
    let verifier = provider.verifier(&hands);
    let token = long(RSA_A, "a");
    verifier.verify(&token).await.unwrap();
    hands.forward(3599);
    verifier.verify(&token).await.unwrap();
    assert_eq!(provider.requests(), 1);
    // The token is remembered, but its key was withdrawn meanwhile.
    provider.says(200, set(&[jwk(RSA_B, "b")]));
    hands.forward(1);
    assert_eq!(code(verifier.verify(&token).await), "UNAUTHORIZED");
    assert_eq!(provider.requests(), 2);
}

#[tokio::test]
async fn the_last_keys_serve_for_a_day_while_the_provider_is_down() {
    let provider = Provider::start(&set(&[jwk(RSA_A, "a")])).await;
    let hands = Hands::at_now();
    let verifier = provider.verifier(&hands);
    let token = long(RSA_A, "a");
    verifier.verify(&token).await.unwrap();
    provider.says(500, "");
    hands.forward(3600);
    verifier.verify(&token).await.unwrap();
    verifier.verify(&long(RSA_A, "a")).await.unwrap();
    assert_eq!(provider.requests(), 2, "one attempt in 30 seconds");
    // What nobody can judge now is not called invalid: that would sign people out.
    assert_eq!(code(verifier.verify(&long(RSA_B, "new")).await), "AUTH_KEYS_UNAVAILABLE");
    hands.forward(24 * 3600 - 3600 - 1);
    verifier.verify(&token).await.unwrap();
    hands.forward(1);
    assert_eq!(code(verifier.verify(&token).await), "AUTH_KEYS_UNAVAILABLE");
    // It comes back.
    provider.says(200, set(&[jwk(RSA_A, "a")]));
    hands.forward(30);
    verifier.verify(&token).await.unwrap();
}

#[tokio::test]
async fn nobody_waits_for_a_provider_that_is_known_to_be_down() {
    let provider = Provider::start(&set(&[jwk(RSA_A, "a")])).await;
    let hands = Hands::at_now();
    let verifier = provider.verifier(&hands);
    verifier.verify(&long(RSA_A, "a")).await.unwrap();
    provider.says(500, "");
    hands.forward(3600);
    verifier.verify(&long(RSA_A, "a")).await.unwrap();
    // Now it does not even answer. The next attempt is made beside the call.
    provider.open.send(false).unwrap();
    hands.forward(30);
    let token = long(RSA_A, "a");
    // Waiting would take until the fetch gives up after five seconds.
    tokio::time::timeout(Duration::from_secs(3), verifier.verify(&token)).await.expect("it waited").unwrap();
    provider.open.send(true).unwrap();
}

#[tokio::test]
async fn those_who_come_first_together_share_one_fetch() {
    let provider = Provider::start(&set(&[jwk(RSA_A, "a")])).await;
    let verifier = provider.verifier(&Hands::at_now());
    let (named, unnamed) = (long(RSA_A, "a"), rs256(RSA_A, None, &claims()));
    let calls = (0..20).map(|n| verifier.verify(if n % 2 == 0 { &named } else { &unnamed }));
    assert!(futures_util::future::join_all(calls).await.into_iter().all(|call| call.is_ok()));
    assert_eq!(provider.requests(), 1);
}

#[tokio::test]
async fn a_caller_who_leaves_does_not_undo_the_fetch() {
    let provider = Provider::start(&set(&[jwk(RSA_A, "a")])).await;
    let verifier = provider.verifier(&Hands::at_now());
    provider.open.send(false).unwrap();
    let token = long(RSA_A, "a");
    {
        let mut first = Box::pin(verifier.verify(&token));
        // Leaves as soon as its request has arrived.
        while provider.requests() == 0 {
            assert!(futures_util::poll!(&mut first).is_pending());
            tokio::task::yield_now().await;
        }
    }
    provider.open.send(true).unwrap();
    verifier.verify(&token).await.unwrap();
    assert_eq!(provider.requests(), 1);
}

#[tokio::test]
async fn without_any_keys_nothing_is_said_about_a_token() {
    let provider = Provider::start(&set(&[])).await;
    let hands = Hands::at_now();
    let verifier = provider.verifier(&hands);
    let many = (0..101).map(|n| jwk(RSA_A, &n.to_string())).collect::<Vec<_>>();
    for (status, body) in [
        (500, String::new()),
        (302, String::new()),
        (200, "no json".into()),
        (200, "{}".into()),
        (200, set(&[]).to_string()),
        (200, json!({ "keys": [jwk(RSA_A, "a")], "padding": "x".repeat(1 << 20) }).to_string()),
        (200, set(&many).to_string()),
    ] {
        provider.says(status, body);
        let before = provider.requests();
        let error = verifier.verify(&long(RSA_A, "a")).await.unwrap_err();
        assert_eq!((error.code(), error.http_status()), ("AUTH_KEYS_UNAVAILABLE", 503));
        assert_eq!(verifier.preload().await.unwrap_err().code(), "AUTH_KEYS_UNAVAILABLE");
        assert_eq!(provider.requests(), before + 1);
        hands.forward(30);
    }
    provider.says(200, set(&[jwk(RSA_A, "a")]));
    verifier.verify(&long(RSA_A, "a")).await.unwrap();
}

#[tokio::test]
async fn only_keys_for_signatures_are_taken_and_secrets_never() {
    let secret = json!({ "kty": "oct", "alg": "HS256", "kid": "s", "k": URL_SAFE_NO_PAD.encode(SECRET) });
    let mut encryption = jwk(RSA_A, "e");
    encryption["use"] = "enc".into();
    let mut operation = jwk(RSA_A, "o");
    operation.as_object_mut().unwrap().remove("use");
    operation["key_ops"] = json!(["encrypt"]);
    let mut other = jwk(RSA_A, "x");
    other["alg"] = "RS512".into();
    let weak = jwk(RSA_SMALL, "w");
    let odd = json!({ "kty": "quantum", "kid": "q" });
    let mut unsaid = jwk(RSA_A, "u");
    unsaid.as_object_mut().unwrap().remove("alg");
    let provider = Provider::start(&set(&[secret, encryption, operation, other, weak, odd, json!(7), unsaid])).await;
    let verifier = provider.verifier(&Hands::at_now());
    verifier.verify(&long(RSA_A, "u")).await.unwrap();
    for (pem, kid) in [(RSA_A, "e"), (RSA_A, "o"), (RSA_A, "x"), (RSA_SMALL, "w"), (RSA_A, "q")] {
        assert_eq!(code(verifier.verify(&long(pem, kid)).await), "UNAUTHORIZED", "{kid}");
    }
    let by_secret = signed(
        &json!({ "alg": "HS256", "kid": "s" }),
        &claims(),
        &EncodingKey::from_secret(SECRET.as_bytes()),
        Library::HS256,
    );
    assert_eq!(code(verifier.verify(&by_secret).await), "UNAUTHORIZED");
}

#[tokio::test]
async fn without_a_key_id_only_a_single_key_is_tried() {
    let claims = json!({ "sub": "ada", "exp": NOW + 60 });
    let one = Provider::start(&set(&[jwk(RSA_A, "a")])).await;
    one.verifier(&Hands::at_now()).verify(&rs256(RSA_A, None, &claims)).await.unwrap();
    let two = Provider::start(&set(&[jwk(RSA_A, "a"), jwk(RSA_B, "b")])).await;
    assert_eq!(code(two.verifier(&Hands::at_now()).verify(&rs256(RSA_A, None, &claims)).await), "UNAUTHORIZED");
}
