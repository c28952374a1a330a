//! Cards from elsewhere: an action, because it talks to the outside world.

use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use forge::prelude::*;

use crate::cards::{NewCard, add_cards};
use crate::errors::BoardError;

/// How many bytes an import may have.
const SIZE_MAX: u64 = 1_000_000;

static HOSTS: RwLock<Vec<String>> = RwLock::new(Vec::new());

/// Names the hosts (`example.org`) that cards may be imported from; none until this is called. The server makes the
/// request, and it reaches places that its users do not: so where it may go is decided by whoever runs it, with the
/// environment variable `BOARD_IMPORT_HOSTS` (names, separated by commas). Where a host redirects to is not
/// followed.
pub fn allow_hosts<'a>(hosts: impl IntoIterator<Item = &'a str>) {
    let hosts = hosts.into_iter().filter(|host| !host.is_empty()).map(str::to_lowercase).collect();
    *HOSTS.write().unwrap_or_else(PoisonError::into_inner) = hosts;
}

/// A card in an imported list.
#[forge::input]
pub struct ImportedCard {
    /// What it is about.
    pub title: String,
    /// More about it.
    pub description: Option<String>,
    /// How many hours it will take.
    pub estimate: Option<Decimal>,
}

/// Adds cards from a list on the web to the bottom of a column, all of them or none, and says how many. The list is JSON:
/// `[{"title": "..", "description": "..", "estimate": "1.5"}, ..]`, with at most 100 cards.
#[forge::action(timeout = "20s")]
pub async fn import_cards_from_url(
    ctx: &ActionContext,
    column_id: Uuid,
    #[validate(length(max = 2000), url)] url: String,
) -> Result<u32> {
    let host = host_of(&url).ok_or_else(|| refused("the address is not one of the web"))?;
    if !HOSTS.read().unwrap_or_else(PoisonError::into_inner).contains(&host) {
        return Err(refused(format!("{host} is not among the hosts that this server imports from (BOARD_IMPORT_HOSTS)")));
    }
    // What this host answers with counts, and not where it would send us.
    let request = ctx.http().get(&url).timeout(Duration::from_secs(10)).no_redirects().max_body(SIZE_MAX);
    let answer = request.send().await;
    let answer = answer.map_err(|_| refused(format!("{host} does not answer")))?;
    if answer.status() != 200 {
        return Err(refused(format!("{host} answered with status {}", answer.status())));
    }
    let cards: Vec<ImportedCard> = answer.json().await.map_err(|why| {
        refused(format!("what is there is not a list of cards of at most {SIZE_MAX} bytes")).with_source(why)
    })?;
    let cards: Vec<NewCard> = cards
        .into_iter()
        .map(|card| NewCard {
            id: None,
            column_id,
            title: card.title,
            description: card.description.unwrap_or_default(),
            estimate: card.estimate,
        })
        .collect();
    let added = ctx.mutate(add_cards, cards).await?;
    Ok(u32::try_from(added.len())?)
}

fn refused(reason: impl Into<String>) -> Error {
    BoardError::ImportRefused { reason: reason.into() }.into()
}

/// The host of an `http` or `https` address, in lower case, without user and port.
fn host_of(url: &str) -> Option<String> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    let authority = rest.split(['/', '?', '#', '\\']).next()?;
    // A user in front of the host is what tricks are made of.
    if authority.contains(['@', '[']) {
        return None;
    }
    let host = authority.split(':').next()?;
    (!host.is_empty()).then(|| host.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::host_of;

    #[test]
    fn which_host_an_address_has() {
        assert_eq!(host_of("https://Example.org/cards.json").as_deref(), Some("example.org"));
        assert_eq!(host_of("http://example.org:8080?x").as_deref(), Some("example.org"));
        assert_eq!(host_of("http://good.example\\@bad.example/").as_deref(), Some("good.example"));
        for url in ["ftp://example.org", "https://", "https://good.example@bad.example/", "example.org"] {
            assert_eq!(host_of(url), None, "{url}");
        }
    }
}
