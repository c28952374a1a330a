//! `/_api/cluster`.

use forge_core::Result;
use http::Method;
use serde::Deserialize;

use super::{Desk, Wish, data, nothing, wish};
use crate::admin::Actor;
use crate::cluster::admin::ClusterView;

/// What a node is to do.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Drain {
    #[serde(default)]
    dry_run: bool,
}

impl Desk {
    pub(super) async fn cluster(&self, actor: &Actor, path: &[&str], wish: Wish) -> Result<Vec<u8>> {
        match (&wish.method, path) {
            (&Method::GET, []) => {
                wish.words.end()?;
                data(&ClusterView::of(&self.parts.cluster()))
            }
            (&Method::POST, ["nodes", id, "drain"]) => {
                wish.words.end()?;
                let Drain { dry_run } = wish::body(&wish.body)?;
                data(&self.parts.cluster.drain(&self.admin, actor, wish::id("id", id)?, dry_run).await?)
            }
            _ => Err(nothing()),
        }
    }
}
