//! Where an app is reached and what lets one in: said by the environment, or left in the app's folder by `forge dev`.

use std::path::Path;

use forge_core::{Error, Result};
use forge_runtime::config::Secret;

use crate::app::App;
use crate::failure;
use crate::secret;

/// The file of the token that lets this machine in.
const TOKEN: &str = "admin-token";

/// The file that says where `forge dev` serves, or served last.
const URL: &str = "url";

/// The token of `forge dev`, made on first use.
pub(crate) fn dev_token(app: &App) -> Result<String> {
    secret::of(app, TOKEN)
}

/// `forge dev` serves there.
pub(crate) fn serves_at(app: &App, url: &str) -> Result<()> {
    let file = app.private_folder()?.join(URL);
    std::fs::write(&file, url).map_err(failure::file("write", &file))
}

/// An app, and what lets one in.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) url: String,
    pub(super) token: Secret,
    /// It is what `forge dev` said.
    pub(super) by_dev: bool,
}

impl Place {
    /// What is said, on the command line or in the environment; else what `forge dev` has left in the folder.
    ///
    /// # Errors
    /// `ADMIN_NOT_SAID` when either is missing.
    pub(super) fn find(url: Option<&str>, folder: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let env = |name: &str| env(name).filter(|text| !text.trim().is_empty()).map(|text| text.trim().to_owned());
        let dev =
            |file: &str| std::fs::read_to_string(folder.join(".forge").join(file)).ok().map(|text| text.trim().to_owned());
        let said = url.filter(|url| !url.is_empty()).map(str::to_owned).or_else(|| env("FORGE_ADMIN_URL"));
        let dev_url = dev(URL);
        let Some(url) = said.clone().or_else(|| dev_url.clone()) else {
            let text =
                "which app is meant? Say --url or FORGE_ADMIN_URL, or go to the folder of an app that `forge dev` serves";
            return Err(Error::config("ADMIN_NOT_SAID", text));
        };
        // What is for the app of this folder is shown to no other one.
        let is_dev = dev_url.is_some_and(|dev| dev.trim_end_matches('/') == url.trim_end_matches('/'));
        let token = env("FORGE_ADMIN_TOKEN").or_else(|| dev(TOKEN).filter(|_| is_dev)).ok_or_else(|| {
            let text = format!(
                "there is no token for the app at {url}: put the one that it has as admin.token into FORGE_ADMIN_TOKEN"
            );
            Error::config("ADMIN_NOT_SAID", text)
        })?;
        Ok(Self { url, token: token.into(), by_dev: said.is_none() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_of_dev_is_shown_to_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let find = |url, env: &[(&str, &str)]| {
            let said = |name: &str| env.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
            Place::find(url, folder.path(), &said).map(|place| (place.url, place.token.expose().to_owned(), place.by_dev))
        };
        assert_eq!(find(None, &[]).unwrap_err().code(), "ADMIN_NOT_SAID");
        let app = App { root: folder.path().to_owned(), name: "shop".into() };
        let token = dev_token(&app).unwrap();
        serves_at(&app, "http://127.0.0.1:8080").unwrap();
        assert_eq!(find(None, &[]).unwrap(), ("http://127.0.0.1:8080".into(), token.clone(), true));
        assert_eq!(find(Some("http://127.0.0.1:8080/"), &[]).unwrap().1, token);
        let other = find(Some("https://shop.example"), &[]).unwrap_err();
        assert!(other.message().contains("FORGE_ADMIN_TOKEN"), "{other}");
        let said = [("FORGE_ADMIN_URL", "https://shop.example"), ("FORGE_ADMIN_TOKEN", "abc\n")];
        assert_eq!(find(None, &said).unwrap(), ("https://shop.example".into(), "abc".into(), false));
    }
}
