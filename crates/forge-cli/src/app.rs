//! The folder of an app: what it is called, how it is configured, what it is built from.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use forge_core::{Error, Result};
use forge_runtime::config::{Config, Loaded, Mode};
use serde_json::Value;

use crate::cargo;
use crate::failure;
use crate::page::Page;

/// The folder of an app.
#[derive(Debug, Clone)]
pub(crate) struct App {
    /// The folder, from the root of the file system.
    pub(crate) root: PathBuf,
    /// The package's name.
    pub(crate) name: String,
}

/// What cargo knows of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Crates {
    /// The program that is run.
    pub(crate) binary: String,
    /// The folder with the lock file.
    pub(crate) workspace: PathBuf,
    /// The folders of the app and of everything on this machine that it is built from, the app's first.
    pub(crate) folders: Vec<PathBuf>,
}

impl App {
    /// Opens an app's folder.
    ///
    /// # Errors
    /// `APP_NOT_FOUND` when there is no package that depends on `forge`.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let manifest = path.join("Cargo.toml");
        let text = match std::fs::read_to_string(&manifest) {
            Ok(text) => text,
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => {
                let text = format!(
                    "there is no app in {}: it has no Cargo.toml; name the app's folder, or make one with `forge new my-app`",
                    path.display()
                );
                return Err(Error::config("APP_NOT_FOUND", text));
            }
            Err(why) => return Err(failure::file("read", &manifest)(why)),
        };
        let table: toml::Table = toml::from_str(&text).map_err(|why| {
            let text = format!("{} is not TOML: {}", manifest.display(), why.message());
            Error::config("APP_NOT_FOUND", text).with_source(why)
        })?;
        let Some(name) = table.get("package").and_then(|package| package.get("name")).and_then(toml::Value::as_str) else {
            let text = format!(
                "{} is a workspace, not an app; name the folder of one of its apps, such as `forge dev {}`",
                manifest.display(),
                path.join("my-app").display()
            );
            return Err(Error::config("APP_NOT_FOUND", text));
        };
        if table.get("dependencies").and_then(|dependencies| dependencies.get("forge")).is_none() {
            let text = format!("{} is not an app: `forge` is not among its dependencies", manifest.display());
            return Err(Error::config("APP_NOT_FOUND", text));
        }
        let root = std::fs::canonicalize(path).map_err(failure::file("find", path))?;
        Ok(Self { root, name: name.to_owned() })
    }

    /// The configuration as a developer's machine has it.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(crate) fn config(&self) -> Result<Loaded> {
        load_config(&self.root)
    }

    /// The file of the configuration, which need not exist.
    pub(crate) fn config_file(&self) -> PathBuf {
        config_file(&self.root)
    }

    /// The page's sources, if the app has a page.
    pub(crate) fn page(&self) -> Option<Page> {
        Page::of(&self.root)
    }

    /// What the app's database is called where the name is ours to choose.
    pub(crate) fn database_name(&self) -> String {
        self.name.replace('-', "_")
    }

    /// A folder for what belongs to this machine and not to the repository.
    pub(crate) fn private_folder(&self) -> Result<PathBuf> {
        let folder = self.root.join(".forge");
        std::fs::create_dir_all(&folder).map_err(failure::file("make the folder", &folder))?;
        let ignore = folder.join(".gitignore");
        if !ignore.exists() {
            std::fs::write(&ignore, "*\n").map_err(failure::file("write", &ignore))?;
        }
        Ok(folder)
    }

    /// Asks cargo what the app is built from.
    ///
    /// # Errors
    /// `BUILD_FAILED` when cargo cannot say, `APP_BINARY_UNCLEAR` when it is not clear which program is the app.
    pub(crate) async fn crates(&self) -> Result<Crates> {
        let output = cargo::command(&self.root)
            .args(["metadata", "--format-version", "1", "--manifest-path"])
            .arg(self.root.join("Cargo.toml"))
            .kill_on_drop(true)
            .output()
            .await
            .map_err(failure::program("cargo", "builds the app"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(Error::config(
                "BUILD_FAILED",
                format!("cargo cannot read the app in {}:\n{}", self.root.display(), said.trim()),
            ));
        }
        let metadata: Value = serde_json::from_slice(&output.stdout)?;
        Crates::of(&metadata, &self.root)
    }
}

/// The file of the configuration of the app in a folder.
fn config_file(root: &Path) -> PathBuf {
    root.join(std::env::var_os("FORGE_CONFIG").map_or_else(|| "forge.toml".into(), PathBuf::from))
}

/// Reads the configuration of the app in a folder.
pub(crate) fn load_config(root: &Path) -> Result<Loaded> {
    Config::load_for(Some(&config_file(root)), &|name| std::env::var(name).ok(), Mode::Development)
}

impl Crates {
    fn of(metadata: &Value, root: &Path) -> Result<Self> {
        let unclear = |what: &str| Error::internal(format!("`cargo metadata` says nothing of {what}"));
        let packages = metadata["packages"].as_array().ok_or_else(|| unclear("packages"))?;
        let folder = |package: &Value| {
            package["manifest_path"].as_str().and_then(|path| Path::new(path).parent()).map(Path::to_owned)
        };
        let own = packages
            .iter()
            .find(|package| folder(package).is_some_and(|folder| folder == root))
            .ok_or_else(|| unclear("the app"))?;
        let nodes: HashMap<&str, &Value> = metadata["resolve"]["nodes"]
            .as_array()
            .ok_or_else(|| unclear("dependencies"))?
            .iter()
            .filter_map(|node| Some((node["id"].as_str()?, node)))
            .collect();
        let mut seen = HashSet::new();
        let mut waiting = vec![own["id"].as_str().ok_or_else(|| unclear("the app's id"))?];
        while let Some(id) = waiting.pop() {
            if seen.insert(id) {
                waiting.extend(
                    nodes
                        .get(id)
                        .and_then(|node| node["dependencies"].as_array())
                        .into_iter()
                        .flatten()
                        .filter_map(Value::as_str),
                );
            }
        }
        let mut folders = vec![root.to_owned()];
        for package in packages {
            // A package without a source is on this machine, so somebody may be editing it.
            let used = package["id"].as_str().is_some_and(|id| seen.contains(id)) && package["source"].is_null();
            folders.extend(folder(package).filter(|folder| used && folder != root));
        }
        let workspace = metadata["workspace_root"].as_str().ok_or_else(|| unclear("the workspace"))?;
        Ok(Self { binary: binary(own)?, workspace: workspace.into(), folders })
    }
}

/// The program of the app: the only one, the default one, or the one called like the package.
fn binary(package: &Value) -> Result<String> {
    let targets = package["targets"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_binary = |target: &&Value| target["kind"].as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == "bin"));
    let names: Vec<&str> = targets.iter().filter(is_binary).filter_map(|target| target["name"].as_str()).collect();
    let chosen = match names.as_slice() {
        [one] => Some(*one),
        many => {
            let wanted = [package["default_run"].as_str(), package["name"].as_str()];
            wanted.into_iter().flatten().find(|name| many.contains(name))
        }
    };
    chosen.map(str::to_owned).ok_or_else(|| {
        let text = if names.is_empty() {
            "the app has no program: add src/main.rs with `Forge::new().include(..::module()).run().await`".to_owned()
        } else {
            format!(
                "the app has the programs {}; say with `default-run` in its Cargo.toml which one is the app",
                names.join(", ")
            )
        };
        Error::config("APP_BINARY_UNCLEAR", text)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn package(names: &[&str], default: Option<&str>) -> Value {
        let targets: Vec<Value> = names.iter().map(|name| json!({"name": name, "kind": ["bin"]})).collect();
        json!({"name": "shop", "default_run": default, "targets": targets})
    }

    #[test]
    fn the_program_is_the_only_one_or_the_one_that_is_said() {
        assert_eq!(binary(&package(&["x"], None)).unwrap(), "x");
        assert_eq!(binary(&package(&["x", "shop"], None)).unwrap(), "shop");
        assert_eq!(binary(&package(&["x", "shop"], Some("x"))).unwrap(), "x");
        for names in [&[][..], &["x", "y"]] {
            assert_eq!(binary(&package(names, None)).unwrap_err().code(), "APP_BINARY_UNCLEAR");
        }
    }

    #[test]
    fn only_what_the_app_is_built_from_is_watched() {
        let package = |name: &str, source: Value| {
            json!({"id": name, "name": name, "source": source, "manifest_path": format!("/w/{name}/Cargo.toml"),
                   "targets": [{"name": name, "kind": ["bin"]}]})
        };
        let metadata = json!({
            "packages": [package("app", Value::Null), package("used", Value::Null), package("other", Value::Null), package("far", json!("registry"))],
            "resolve": {"nodes": [
                {"id": "app", "dependencies": ["used", "far"]}, {"id": "used", "dependencies": []},
                {"id": "other", "dependencies": ["app"]}, {"id": "far", "dependencies": []},
            ]},
            "workspace_root": "/w",
        });
        let crates = Crates::of(&metadata, Path::new("/w/app")).unwrap();
        assert_eq!(crates.folders, [PathBuf::from("/w/app"), PathBuf::from("/w/used")]);
    }

    #[test]
    fn what_is_no_app_is_refused_with_a_reason() {
        let folder = tempfile::tempdir().unwrap();
        let refusal = || App::open(folder.path()).unwrap_err().message().to_owned();
        assert!(refusal().contains("no Cargo.toml"));
        let write = |text: &str| std::fs::write(folder.path().join("Cargo.toml"), text).unwrap();
        write("[workspace]\nmembers = []\n");
        assert!(refusal().contains("is a workspace"));
        write("[package]\nname = \"x\"\n");
        assert!(refusal().contains("`forge` is not among its dependencies"));
        write("[package]\nname = \"x-y\"\n[dependencies]\nforge = \"1\"\n");
        assert_eq!(App::open(folder.path()).unwrap().database_name(), "x_y");
    }
}
