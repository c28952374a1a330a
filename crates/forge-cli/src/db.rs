//! `forge db`: the database of an app.

use std::os::unix::process::CommandExt as _;
use std::path::Path;

use forge_core::Result;
use forge_pg::PrivateServer;
use percent_encoding::percent_decode_str;

use crate::app::App;
use crate::database;
use crate::failure;
use crate::status::Status;
use crate::voice;

/// Stops the private server.
pub(crate) async fn stop(path: &Path) -> Result<()> {
    let app = App::open(path)?;
    let Some(server) = PrivateServer::running(&app.root).await? else {
        voice::note("no private server of this app is running");
        return Ok(());
    };
    server.stop().await?;
    voice::note(&format!("stopped; the data stays in {}", server.data_folder().display()));
    Ok(())
}

/// Prints the address.
pub(crate) async fn url(path: &Path, status: &Status) -> Result<()> {
    let app = App::open(path)?;
    voice::data(&database::of(&app, &app.config()?, status).await?.url)
}

/// Becomes psql.
pub(crate) async fn psql(path: &Path, arguments: &[String], status: &Status) -> Result<()> {
    let app = App::open(path)?;
    let database = database::of(&app, &app.config()?, status).await?;
    // Everybody on the machine can read the arguments of a command.
    let (url, password) = without_password(&database.url);
    let mut psql = std::process::Command::new("psql");
    psql.arg(url).args(arguments);
    if let Some(password) = password {
        psql.env("PGPASSWORD", password);
    }
    let why = psql.exec();
    Err(failure::program("psql", "is PostgreSQL's own client; another one can use the address that `forge db url` prints")(
        why,
    ))
}

/// An address without its password, and that. One that is no single URL stays as it is.
fn without_password(address: &str) -> (String, Option<String>) {
    let parsed = reqwest::Url::parse(address).ok();
    let taken = parsed.and_then(|mut url| {
        let said: Vec<String> = url.query().into_iter().flat_map(|query| query.split('&')).map(str::to_owned).collect();
        let (secret, others): (Vec<String>, Vec<String>) = said.into_iter().partition(|one| one.starts_with("password="));
        let password = secret.last().and_then(|one| one.strip_prefix("password=")).or(url.password())?;
        let password = percent_decode_str(password).decode_utf8().ok()?.into_owned();
        url.set_password(None).ok()?;
        url.set_query((!others.is_empty()).then(|| others.join("&")).as_deref());
        Some((url.to_string(), Some(password)))
    });
    taken.unwrap_or_else(|| (address.to_owned(), None))
}

#[cfg(test)]
mod tests {
    use super::without_password;

    #[test]
    fn the_password_is_not_among_the_arguments() {
        let (url, password) = without_password("postgres://me:p%40ss%2Fw@db.example/cards?sslmode=verify-full");
        assert_eq!(
            (url.as_str(), password.as_deref()),
            ("postgres://me@db.example/cards?sslmode=verify-full", Some("p@ss/w"))
        );
        let (url, password) = without_password("postgres://me@db.example/cards?password=a%26b&sslmode=require");
        assert_eq!((url.as_str(), password.as_deref()), ("postgres://me@db.example/cards?sslmode=require", Some("a&b")));
        for plain in ["postgres://me@/t?host=/tmp", "host=a user=b", "postgres://a@h1:1,h2:2/t"] {
            assert_eq!(without_password(plain), (plain.to_owned(), None));
        }
    }
}
