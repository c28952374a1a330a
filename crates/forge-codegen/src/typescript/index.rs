//! `index.ts`: what an app imports from the folder.

use super::Flavour;
use super::names::Names;
use super::print::names_from;

const CLIENT_TYPES: &[&str] = &[
    "Action",
    "CallOptions",
    "ChangeOptions",
    "ConnectionStatus",
    "FieldErrors",
    "ForgeClient",
    "ForgeClientOptions",
    "ForgeErrorCode",
    "GetToken",
    "Job",
    "JobListener",
    "JobSnapshot",
    "JobStatus",
    "JobTracker",
    "Listener",
    "LiveConnection",
    "LiveOptions",
    "Mutation",
    "Optimistic",
    "OptimisticQueries",
    "OptimisticResult",
    "Outbox",
    "Presence",
    "PresenceMember",
    "Query",
    "ServerEvent",
    "ServerEventListener",
    "Snapshot",
    "Subscription",
    "Transport",
];

const SVELTE_TYPES: &[&str] =
    &["Call", "CallSetup", "ConnectionState", "LiveQuery", "LiveSetup", "Loaded", "Present", "TrackedJob", "UseOptions"];

/// Writes the file; with `jobs` when the app has some. A type of the app goes before one of the runtime with the same name, which can still be imported
/// from the runtime's own file.
pub(super) fn write(flavour: Flavour, names: &Names<'_>, jobs: bool) -> String {
    let types = |file: &str, list: &[&'static str]| {
        let free: Vec<&str> = list.iter().copied().filter(|name| !names.is_taken(name)).collect();
        if free.is_empty() { String::new() } else { names_from("export type", free, file) }
    };
    let api = if jobs { "api, jobs" } else { "api" };
    let mut file = format!("export {{ {api} }} from './api.js';\nexport type * from './types.js';\n");
    file += &names_from("export", ["ForgeError", "createForgeClient", "createOutbox", "newId"], "./runtime/client.js");
    file += &types("./runtime/client.js", CLIENT_TYPES);
    if flavour == Flavour::Svelte {
        let functions = ["call", "connection", "live", "load", "present", "provideForge", "trackJob", "useForge"];
        file += &names_from("export", functions, "./runtime/svelte.svelte.js");
        file += &types("./runtime/svelte.svelte.js", SVELTE_TYPES);
    }
    file
}
