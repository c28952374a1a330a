//! The app's page: its files, and nothing else of the disk.

use forge::testing::TestApp;

use crate::support::http::Request;

const INDEX: &str = include_str!("../../frontend/dist/index.html");
const SCRIPT: &str = include_str!("../../frontend/dist/assets/app-1a2b.js");

#[forge::test]
async fn files_are_served_with_what_a_browser_needs(app: TestApp) {
    let url = app.url();
    for path in ["/", "/index.html"] {
        let page = Request::get(path).send(&url).await;
        assert_eq!((page.status, page.text().as_str()), (200, INDEX), "{path}");
        assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
        assert_eq!(page.header("cache-control"), Some("no-cache"));
        assert!(page.header("content-security-policy").is_some_and(|policy| policy.contains("frame-ancestors 'self'")));
    }
    let script = Request::get("/assets/app-1a2b.js").send(&url).await;
    assert_eq!((script.status, script.text().as_str()), (200, SCRIPT));
    assert_eq!(script.header("content-type"), Some("text/javascript; charset=utf-8"));
    assert_eq!(script.header("cache-control"), Some("public, max-age=31536000, immutable"));
    let head = Request::new("HEAD", "/assets/app-1a2b.js").send(&url).await;
    assert_eq!((head.status, head.header("content-length")), (200, Some(SCRIPT.len().to_string().as_str())));
    let query = Request::get("/assets/app-1a2b.js?v=2").send(&url).await;
    assert_eq!(query.text(), SCRIPT);
    let written = Request::get("/assets/app%2D1a2b%2ejs").send(&url).await;
    assert_eq!((written.status, written.text().as_str()), (200, SCRIPT), "as some browsers write it");
}

#[forge::test]
async fn the_pages_own_addresses_are_its_own_business(app: TestApp) {
    let url = app.url();
    for path in ["/boards", "/boards/7/cards/8", "/%F0%9F%8D%AA", "/boards?tab=1.5"] {
        let page = Request::get(path).send(&url).await;
        assert_eq!((page.status, page.text().as_str()), (200, INDEX), "{path}");
    }
    // A file that is not there is not a page: a browser would run HTML as a script.
    for path in ["/assets/gone-9f.js", "/favicon.ico", "/assets/app.css"] {
        assert_eq!(Request::get(path).send(&url).await.failure(), (404, "NOT_FOUND".into()), "{path}");
    }
}

#[forge::test]
async fn what_has_not_changed_is_not_sent_again(app: TestApp) {
    let url = app.url();
    let tag = Request::get("/").send(&url).await.header("etag").unwrap().to_owned();
    for known in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}"), "*".into()] {
        let again = Request::get("/").header("if-none-match", known.clone()).send(&url).await;
        assert_eq!((again.status, again.body.len()), (304, 0), "{known}");
        assert_eq!(again.header("etag"), Some(tag.as_str()));
    }
    let changed = Request::get("/").header("if-none-match", "\"other\"").send(&url).await;
    assert_eq!((changed.status, changed.text().as_str()), (200, INDEX));
    let other = Request::get("/assets/app-1a2b.js").header("if-none-match", tag).send(&url).await;
    assert_eq!(other.status, 200, "each file has a tag of its own");
}

#[forge::test]
async fn nothing_else_of_the_disk_is_served(app: TestApp) {
    let url = app.url();
    let paths = [
        "/../index.html",
        "/../../Cargo.toml",
        "/assets/../../../Cargo.toml",
        "/assets/../../../src/lib.rs",
        "/..%2f..%2fCargo.toml",
        "/%2e%2e/%2e%2e/Cargo.toml",
        "/..%5c..%5cCargo.toml",
        "/..\\..\\Cargo.toml",
        "//etc/passwd",
        "/etc/passwd",
        "///etc/hostname",
        "/.secret",
        "/assets/.secret",
        "/./.secret",
        "/%2esecret",
        "/assets/./app-1a2b.js",
        "/assets//app-1a2b.js",
        "/assets/",
        "/assets",
        "/assets/app-1a2b.js/",
        "/assets/app-1a2b.js%00.html",
        "/file:///etc/passwd",
        "/C:/Windows/win.ini",
    ];
    for path in paths {
        // As the target may stand in a request: nothing of the client tidies it up.
        let answer = Request::get(path).send(&url).await;
        let text = answer.text();
        assert!(text == INDEX || answer.status == 404 || answer.status == 400, "{path}: {} {text}", answer.status);
        for content in ["[package]", "root:", "not for anybody", "forge::module", SCRIPT.trim()] {
            assert!(!text.contains(content), "{path}: {text}");
        }
    }
}
