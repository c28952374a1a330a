//! `forge config`: what holds, and why.

use std::path::Path;

use forge_core::{Error, Result};
use forge_runtime::config::{Config, Explained, Loaded, Source};
use serde_json::json;

use crate::app;
use crate::voice;

/// Prints every key with its value and where that comes from.
pub(crate) fn show(path: &Path, as_json: bool) -> Result<()> {
    if !path.is_dir() {
        let text = format!("there is no folder {}; name the folder with the app's forge.toml", path.display());
        return Err(Error::config("APP_NOT_FOUND", text));
    }
    let loaded = app::load_config(path)?;
    let file = loaded.file.as_ref().map(|file| file.display().to_string());
    match &file {
        Some(file) => voice::note(&format!("{file}, then the environment")),
        None => voice::note("no forge.toml here: defaults and the environment"),
    }
    voice::data(&if as_json { as_array(&loaded)? } else { as_table(&loaded.explain()) })
}

/// Prints the reference of all keys.
pub(crate) fn reference() -> Result<()> {
    voice::data(Config::reference().trim_end())
}

fn source(source: &Source) -> String {
    match source {
        Source::Default => "default".to_owned(),
        Source::File { line } => format!("forge.toml, line {line}"),
        Source::Env { var } => format!("environment, {var}"),
    }
}

fn as_table(keys: &[Explained]) -> String {
    let width = |text: fn(&Explained) -> &str| keys.iter().map(|key| text(key).chars().count()).max().unwrap_or(0).min(48);
    let (names, values) = (width(|key| &key.key), width(|key| &key.value));
    let lines = keys.iter().map(|key| {
        let line = format!("{:names$}  {:values$}  {}", key.key, key.value, source(&key.source));
        if key.source == Source::Default { line } else { voice::bold(&line) }
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn as_array(loaded: &Loaded) -> Result<String> {
    let keys: Vec<_> = loaded
        .explain()
        .iter()
        .map(|key| match &key.source {
            Source::Default => json!({"key": key.key, "value": key.value, "source": "default"}),
            Source::File { line } => json!({"key": key.key, "value": key.value, "source": "file", "line": line}),
            Source::Env { var } => json!({"key": key.key, "value": key.value, "source": "environment", "variable": var}),
        })
        .collect();
    Ok(serde_json::to_string_pretty(&keys)?)
}
