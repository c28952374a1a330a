use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

use super::*;

fn config(url: Option<String>) -> MailConfig {
    MailConfig { url: url.map(Into::into), from: Some("Board <board@example.org>".into()), ..MailConfig::default() }
}

/// A mail server for one connection after the other: what is said to it after DATA, and which answer it gives to a recipient.
async fn server(to_recipient: &'static str) -> (String, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("smtp://{}", listener.local_addr().unwrap());
    let (tell, told) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let tell = tell.clone();
            tokio::spawn(async move {
                let (read, mut write) = stream.into_split();
                let mut lines = BufReader::new(read).lines();
                let mut say = async |line: &str| write.write_all(format!("{line}\r\n").as_bytes()).await;
                say("220 test").await.unwrap();
                while let Ok(Some(line)) = lines.next_line().await {
                    match line.split_whitespace().next().unwrap_or_default() {
                        "RCPT" => say(to_recipient).await.unwrap(),
                        "DATA" => {
                            say("354 go on").await.unwrap();
                            let mut all = String::new();
                            while let Ok(Some(line)) = lines.next_line().await {
                                if line == "." {
                                    break;
                                }
                                all.push_str(&line);
                                all.push('\n');
                            }
                            tell.send(all).unwrap();
                            say("250 taken").await.unwrap();
                        }
                        "QUIT" => return,
                        _ => say("250 fine").await.unwrap(),
                    }
                }
            });
        }
    });
    (url, told)
}

#[tokio::test]
async fn a_mail_is_handed_over_and_nothing_in_it_becomes_a_header() {
    let (url, mut told) = server("250 fine").await;
    let mailer = Mailer::new(&config(Some(url)), Mode::Production).unwrap();
    let mail = Mail::to_person("Ada\r\nBcc: eve@example.org", "ada@example.org")
        .and_to("bob@example.org")
        .subject("Füllig: \u{1f95b}")
        .text("Milk\r\n.\r\nis due")
        .html("<b>Milk</b>");
    mailer.send(mail).await.unwrap();
    let all = told.recv().await.unwrap();
    let (head, body) = all.split_once("\n\n").unwrap();
    assert!(!head.lines().any(|line| line.to_ascii_lowercase().starts_with("bcc:")), "{head}");
    assert!(
        head.contains("From: \"Board\" <board@example.org>") || head.contains("From: Board <board@example.org>"),
        "{head}"
    );
    assert!(head.contains("ada@example.org") && head.contains("bob@example.org") && head.contains("=?utf-8?"), "{head}");
    assert!(body.contains("text/plain") && body.contains("text/html") && body.contains("is due"), "{body}");
}

#[tokio::test]
async fn what_is_no_mail_is_refused_before_anybody_is_asked() {
    let mailer = Mailer::new(&config(None), Mode::Test).unwrap();
    let fine = || Mail::to("ada@example.org").subject("s").text("t");
    let many = (0..100).fold(fine(), |mail, n| mail.and_to(format!("n{n}@example.org")));
    for bad in [
        fine().subject("s\r\nBcc: eve@example.org"),
        fine().and_to("eve@example.org\r\nBcc: x@example.org"),
        fine().and_to("not an address"),
        fine().from("nobody"),
        fine().reply_to("a@b\n.c"),
        fine().text(" "),
        fine().text("x".repeat(1024 * 1024 + 1)),
        many,
    ] {
        assert_eq!(mailer.send(bad).await.unwrap_err().code(), "MAIL_INVALID");
    }
    assert!(mailer.inbox().unwrap().all().is_empty());
    mailer.send(fine().from("Ada <ada@example.org>")).await.unwrap();
    assert_eq!(mailer.inbox().unwrap().get(1).unwrap().from, "Ada <ada@example.org>");
}

#[tokio::test]
async fn what_the_server_says_decides_whether_trying_again_makes_sense() {
    for (answer, code) in [("450 later", "MAIL_UNAVAILABLE"), ("550 nobody here", "MAIL_REFUSED")] {
        let (url, _told) = server(answer).await;
        let mailer = Mailer::new(&config(Some(url)), Mode::Development).unwrap();
        let why = mailer.send(Mail::to("ada@example.org").text("t")).await.unwrap_err();
        assert_eq!(why.code(), code, "{why:?}");
        assert!(!why.public_message().contains("mail server"));
    }
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mailer = Mailer::new(&config(Some(format!("smtp://{gone}"))), Mode::Development).unwrap();
    let why = mailer.send(Mail::to("ada@example.org").text("t")).await.unwrap_err();
    assert_eq!(why.code(), "MAIL_UNAVAILABLE");
    let mailer = Mailer::new(&config(None), Mode::Production).unwrap();
    let why = mailer.send(Mail::to("ada@example.org").text("t")).await.unwrap_err();
    assert_eq!(why.code(), "MAIL_NOT_CONFIGURED");
    let nobody = MailConfig { from: None, ..config(Some("smtp://127.0.0.1:9".into())) };
    let why =
        Mailer::new(&nobody, Mode::Development).unwrap().send(Mail::to("ada@example.org").text("t")).await.unwrap_err();
    assert!(why.message().contains("mail.from"), "{why:?}");
}

#[tokio::test]
async fn the_inbox_keeps_the_newest() {
    let mailer = Mailer::new(&config(None), Mode::Development).unwrap();
    for n in 0..120 {
        mailer.send(Mail::to("ada@example.org").subject(n.to_string()).text("t")).await.unwrap();
    }
    let kept = mailer.inbox().unwrap().all();
    assert_eq!((kept.len(), kept[0].subject.as_str(), kept[99].id), (100, "20", 120));
    for _ in 0..20 {
        mailer.send(Mail::to("ada@example.org").text("x".repeat(1024 * 1024))).await.unwrap();
    }
    let kept = mailer.inbox().unwrap().all();
    assert!(kept.iter().map(SentMail::size).sum::<usize>() <= 16 * 1024 * 1024, "{}", kept.len());
    assert_eq!(kept.last().unwrap().id, 140);
}
