//! The files of a new app. In them, `__NAME__` stands for its name, `__CRATE__` for that name in Rust, and `__FORGE__` for
//! where `forge` is.

/// Where a file goes, and what is in it. Two have other names here, so that neither cargo nor git takes them for its own.
const FILES: &[(&str, &str)] = &[
    (".gitignore", include_str!("../../templates/app/gitignore.in")),
    ("AGENTS.md", include_str!("../../templates/app/AGENTS.md")),
    ("Cargo.toml", include_str!("../../templates/app/Cargo.toml.in")),
    ("README.md", include_str!("../../templates/app/README.md")),
    ("build.rs", include_str!("../../templates/app/build.rs")),
    ("forge.toml", include_str!("../../templates/app/forge.toml")),
    ("migrations/0001_items.sql", include_str!("../../templates/app/migrations/0001_items.sql")),
    ("src/lib.rs", include_str!("../../templates/app/src/lib.rs")),
    ("src/main.rs", include_str!("../../templates/app/src/main.rs")),
    ("tests/items.rs", include_str!("../../templates/app/tests/items.rs")),
    ("frontend/index.html", include_str!("../../templates/app/frontend/index.html")),
    ("frontend/package.json", include_str!("../../templates/app/frontend/package.json")),
    ("frontend/package-lock.json", include_str!("../../templates/app/frontend/package-lock.json")),
    ("frontend/tsconfig.json", include_str!("../../templates/app/frontend/tsconfig.json")),
    ("frontend/vite.config.ts", include_str!("../../templates/app/frontend/vite.config.ts")),
    ("frontend/src/App.svelte", include_str!("../../templates/app/frontend/src/App.svelte")),
    ("frontend/src/main.ts", include_str!("../../templates/app/frontend/src/main.ts")),
];

/// The files of an app of this name.
pub(super) fn files(name: &str, forge: &str) -> impl Iterator<Item = (&'static str, String)> {
    let krate = name.replace('-', "_");
    FILES.iter().map(move |(path, text)| {
        (*path, text.replace("__NAME__", name).replace("__CRATE__", &krate).replace("__FORGE__", forge))
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_file_of_the_template_is_written() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates/app");
        let there = ignore::WalkBuilder::new(&folder).standard_filters(false).build().flatten();
        let count = there.filter(|entry| entry.file_type().is_some_and(|kind| kind.is_file())).count();
        assert_eq!(FILES.len(), count);
    }

    #[test]
    fn nothing_is_left_to_fill_in() {
        for (path, text) in files("my-shop", "path = \"/f\"") {
            assert!(!text.contains("__"), "{path}");
        }
        let text = |file: &str| files("my-shop", "path = \"/f\"").find(|(path, _)| *path == file).unwrap().1;
        assert!(text("src/main.rs").contains("use my_shop as app;"));
        assert!(
            text("Cargo.toml").contains("name = \"my-shop\"") && text("Cargo.toml").contains("forge = { path = \"/f\" }")
        );
    }
}
