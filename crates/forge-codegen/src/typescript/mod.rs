//! The TypeScript client: `types.ts`, `api.ts`, `index.ts`, and the runtime beside them.

mod api;
mod check;
mod index;
mod names;
mod print;
mod types;
mod usage;

use forge_core::manifest::Manifest;
use forge_core::{Error, Result};

use crate::stamp::stamp;
use names::Names;
use usage::Usage;

/// One generated file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GeneratedFile {
    /// Where it belongs, relative to the folder of the generated client, with `/` between folders.
    pub path: String,
    /// Its text, UTF-8 with `\n` line ends.
    pub content: String,
}

/// Which front end the files are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// The core alone: any framework, none, or a server.
    Plain,
    /// The core, and `live`, `call` and `load` for Svelte 5 components.
    Svelte,
}

/// The runtime's sources that every client needs.
const CORE: &[(&str, &str)] = &[
    ("again.ts", include_str!("../../../../clients/typescript/src/again.ts")),
    ("answer.ts", include_str!("../../../../clients/typescript/src/answer.ts")),
    ("client.ts", include_str!("../../../../clients/typescript/src/client.ts")),
    ("connection.ts", include_str!("../../../../clients/typescript/src/connection.ts")),
    ("error.ts", include_str!("../../../../clients/typescript/src/error.ts")),
    ("functions.ts", include_str!("../../../../clients/typescript/src/functions.ts")),
    ("heartbeat.ts", include_str!("../../../../clients/typescript/src/heartbeat.ts")),
    ("jobs.ts", include_str!("../../../../clients/typescript/src/jobs.ts")),
    ("link.ts", include_str!("../../../../clients/typescript/src/link.ts")),
    ("live.ts", include_str!("../../../../clients/typescript/src/live.ts")),
    ("message.ts", include_str!("../../../../clients/typescript/src/message.ts")),
    ("optimistic.ts", include_str!("../../../../clients/typescript/src/optimistic.ts")),
    ("outbox.ts", include_str!("../../../../clients/typescript/src/outbox.ts")),
    ("patch.ts", include_str!("../../../../clients/typescript/src/patch.ts")),
    ("patience.ts", include_str!("../../../../clients/typescript/src/patience.ts")),
    ("positions.ts", include_str!("../../../../clients/typescript/src/positions.ts")),
    ("session.ts", include_str!("../../../../clients/typescript/src/session.ts")),
    ("sse.ts", include_str!("../../../../clients/typescript/src/sse.ts")),
    ("subscriptions.ts", include_str!("../../../../clients/typescript/src/subscriptions.ts")),
    ("tabs.ts", include_str!("../../../../clients/typescript/src/tabs.ts")),
];

/// The runtime's sources for Svelte.
const SVELTE: &[(&str, &str)] =
    &[("svelte.svelte.ts", include_str!("../../../../clients/typescript/src/svelte.svelte.ts"))];

/// The files of a Svelte 5 client: what [`typescript_for`] gives for [`Flavour::Svelte`].
///
/// # Errors
/// As there.
pub fn typescript(manifest: &Manifest) -> Result<Vec<GeneratedFile>> {
    typescript_for(manifest, Flavour::Svelte)
}

/// The files of a client, the app's own first.
///
/// # Errors
/// `CODEGEN_REFUSED`, with everything that stands in the way: names that TypeScript cannot say or that become the
/// same, types that are used and not defined, a manifest of another version.
pub fn typescript_for(manifest: &Manifest, flavour: Flavour) -> Result<Vec<GeneratedFile>> {
    let usage = Usage::of(manifest);
    let mut problems = check::problems(manifest, &usage);
    let names = Names::of(manifest, &usage, &mut problems);
    if !problems.is_empty() {
        let list: String = problems.iter().map(|problem| format!("\n  - {problem}")).collect();
        let message = format!("no TypeScript client can be generated for `{}`:{list}", manifest.name);
        return Err(Error::config("CODEGEN_REFUSED", message));
    }
    let mut files = vec![
        file("types.ts", &types::write(manifest, &usage, &names)),
        file("api.ts", &api::write(manifest, &names)),
        file("index.ts", &index::write(flavour, &names, !manifest.jobs.is_empty())),
    ];
    let svelte = if flavour == Flavour::Svelte { SVELTE } else { &[] };
    files.extend(CORE.iter().chain(svelte).map(|(name, text)| file(&format!("runtime/{name}"), text)));
    Ok(files)
}

fn file(path: &str, text: &str) -> GeneratedFile {
    GeneratedFile { path: path.to_owned(), content: stamp(text) }
}
