//! Importing, from a server of the test's own.

use board::imports::{ImportCardsFromUrl, allow_hosts, import_cards_from_url};
use board::members::MemberRole;
use forge::Result;
use forge::testing::TestApp;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::people::{board_of, member, person, refused, titles};

/// Serves one answer to whoever asks, and says where.
async fn serve(status: &str, body: &str) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                match stream.read_buf(&mut request).await {
                    Ok(0) | Err(_) => return,
                    Ok(_) => {}
                }
            }
            if stream.write_all(answer.as_bytes()).await.is_err() || stream.shutdown().await.is_err() {
                return;
            }
        }
    });
    Ok(format!("http://{address}/cards.json"))
}

#[forge::test]
async fn a_list_becomes_cards_all_or_none(app: TestApp) -> Result<()> {
    allow_hosts(["127.0.0.1"]);
    let ada = person(&app, "Ada").await?;
    let board = board_of(&ada).await?;
    let column_id = board.columns[0].id;
    let from = |url: String| ImportCardsFromUrl { column_id, url };

    let good =
        serve("200 OK", r#"[{"title":"Eggs","estimate":"0.5"},{"title":"Milk","description":"Two bottles"}]"#).await?;
    assert_eq!(ada.calls.call(import_cards_from_url, from(good.clone())).await?, 2);
    assert_eq!(titles(&ada, board.id, 0).await?, ["Eggs", "Milk"]);

    let one_is_wrong = serve("200 OK", r#"[{"title":"Bread"},{"title":""}]"#).await?;
    refused(ada.calls.call(import_cards_from_url, from(one_is_wrong)).await, "VALIDATION_ERROR");
    let no_list = serve("200 OK", r#"{"title":"Bread"}"#).await?;
    refused(ada.calls.call(import_cards_from_url, from(no_list)).await, "IMPORT_REFUSED");
    let missing = serve("404 Not Found", "[]").await?;
    let error = refused(ada.calls.call(import_cards_from_url, from(missing)).await, "IMPORT_REFUSED");
    assert!(error.message().contains("404"), "{error}");
    let too_large = serve("200 OK", &format!("[{}]", " ".repeat(1_000_000))).await?;
    refused(ada.calls.call(import_cards_from_url, from(too_large)).await, "IMPORT_REFUSED");
    // A host that may be asked does not decide who else is.
    let sent_on = serve(&format!("302 Found\r\nlocation: {good}"), "").await?;
    let error = refused(ada.calls.call(import_cards_from_url, from(sent_on)).await, "IMPORT_REFUSED");
    assert!(error.message().contains("302"), "{error}");
    let elsewhere = good.replace("127.0.0.1", "localhost");
    refused(ada.calls.call(import_cards_from_url, from(elsewhere)).await, "IMPORT_REFUSED");
    refused(ada.calls.call(import_cards_from_url, from("nonsense".into())).await, "VALIDATION_ERROR");
    assert_eq!(titles(&ada, board.id, 0).await?, ["Eggs", "Milk"]);

    let viewer = member(&app, &ada, &board, "Vic", MemberRole::Viewer).await?;
    refused(viewer.calls.call(import_cards_from_url, from(good)).await, "ROLE_TOO_LOW");
    Ok(())
}
