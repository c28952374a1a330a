//! Against a server on the loopback that answers as it is told.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use forge_core::ErrorKind;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// A server: what it answers to whom is made from the head of the request. It leaves connections open until the client is gone.
struct Server {
    url: String,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn new(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (seen, answer) = (heads.clone(), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(Self::serve(stream, seen.clone(), answer.clone()));
            }
        });
        Self { url, heads }
    }

    /// Until the client is gone.
    async fn serve(
        mut stream: TcpStream,
        seen: Arc<Mutex<Vec<String>>>,
        answer: Arc<impl Fn(&str) -> Vec<u8>>,
    ) -> std::io::Result<()> {
        loop {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await?);
            }
            let head = String::from_utf8(head).unwrap();
            let answer = answer(&head);
            seen.lock().unwrap().push(head);
            stream.write_all(&answer).await?;
        }
    }

    /// One that answers everybody the same.
    async fn always(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::new(move |_| answer.clone()).await
    }
}

fn client() -> HttpClient {
    HttpClient::new().unwrap()
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn redirect(to: &str) -> Vec<u8> {
    format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n").into_bytes()
}

#[tokio::test]
async fn an_answer_is_read_up_to_its_limit() {
    let announced = Server::always(ok("12345")).await;
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\n123\r\n2\r\n45\r\n0\r\n\r\n";
    let chunked = Server::always(chunked).await;
    let endless = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{}", "4\r\nabcd\r\n".repeat(100_000));
    let endless = Server::always(endless).await;
    let client = client();
    for url in [&announced.url, &chunked.url] {
        let answer = client.get(url).max_body(5).send().await.unwrap();
        assert_eq!(answer.text().await.unwrap(), "12345");
        let error = client.get(url).max_body(4).send().await.unwrap().bytes().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal);
        assert!(error.message().contains("larger than 4 bytes") && error.message().contains("max_body"), "{error}");
    }
    let error = client.get(&endless.url).max_body(1000).send().await.unwrap().bytes().await.unwrap_err();
    assert!(error.message().contains("larger than 1000 bytes"), "{error}");
    // This one never ends, and without a word about it the limit is 10 MiB.
    let large = Server::always("HTTP/1.1 200 OK\r\ncontent-length: 10485761\r\n\r\n").await;
    let error = client.get(&large.url).send().await.unwrap().json::<serde_json::Value>().await.unwrap_err();
    assert!(error.message().contains("larger than 10485760 bytes"), "{error}");
}

#[tokio::test]
async fn an_answer_that_is_not_the_expected_json_says_so() {
    let server = Server::always(ok("[1, 2")).await;
    let error = client().get(&server.url).send().await.unwrap().json::<Vec<i32>>().await.unwrap_err();
    assert!(error.message().contains("not the JSON that is expected"), "{error}");
    let server = Server::always(ok("[1, 2]")).await;
    assert_eq!(client().get(&server.url).send().await.unwrap().json::<Vec<i32>>().await.unwrap(), [1, 2]);
}

#[tokio::test]
async fn redirects_are_followed_a_few_times_or_not_at_all() {
    let server = Server::new(|head| match head.split(' ').nth(1) {
        Some("/once") => redirect("/end"),
        Some("/round") => redirect("/round"),
        _ => ok("here").into_bytes(),
    })
    .await;
    let (client, url) = (client(), &server.url);
    let followed = client.get(&format!("{url}/once")).send().await.unwrap();
    assert_eq!((followed.status(), followed.text().await.unwrap().as_str()), (200, "here"));

    let stayed = client.get(&format!("{url}/once")).no_redirects().send().await.unwrap();
    assert_eq!((stayed.status(), stayed.header("location")), (302, Some("/end")));

    server.heads.lock().unwrap().clear();
    let error = client.get(&format!("{url}/round")).send().await.unwrap_err();
    assert!(error.message().contains("more than 5 redirects"), "{error}");
    assert_eq!(server.heads.lock().unwrap().len(), 6, "the first, and five redirects");
}

#[test]
fn what_was_encrypted_stays_so() {
    let url = |text: &str| Url::parse(text).unwrap();
    let (plain, encrypted) = (url("http://a/"), url("https://a/"));
    assert_eq!(refusal(std::slice::from_ref(&encrypted), &plain).unwrap(), "a redirect from https to http");
    assert_eq!(refusal(std::slice::from_ref(&encrypted), &encrypted), None);
    assert_eq!(refusal(std::slice::from_ref(&plain), &encrypted), None);
    assert_eq!(refusal(std::slice::from_ref(&plain), &plain), None);
}

#[tokio::test]
async fn credentials_do_not_follow_to_another_origin() {
    let other = Server::always(ok("other")).await;
    let to = other.url.clone();
    let server = Server::new(move |_| redirect(&to)).await;
    let answer = client().get(&server.url).bearer("secret").send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "other");
    assert!(server.heads.lock().unwrap()[0].contains("authorization: Bearer secret"));
    let heads = other.heads.lock().unwrap();
    assert!(!heads[0].to_lowercase().contains("secret"), "{heads:?}");
}

#[tokio::test]
async fn whoever_does_not_answer_is_left() {
    let silent = Server::always("").await;
    let stalling = Server::always("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345").await;
    let (client, short) = (client(), Duration::from_millis(200));
    let began = Instant::now();
    let error = client.get(&silent.url).timeout(short).send().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    let answer = client.get(&stalling.url).timeout(short).send().await.unwrap();
    assert_eq!(answer.bytes().await.unwrap_err().kind(), ErrorKind::Timeout);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_failure_says_why_and_tells_no_secret() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = client().get(&format!("http://{address}/?key=secret")).send().await.unwrap_err();
    assert!(error.message().contains("refused"), "{error}");
    assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    let error = client().get("no address").send().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
}
