//! `forge::module!()`: what a crate brings to an app beside its functions and models: its migrations and its page.

use std::path::{Path, PathBuf};

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::LitStr;

use crate::keys::Grammar;
use crate::mistakes::Mistakes;

const GRAMMAR: Grammar = Grammar { attribute: "forge::module!", accepted: &["migrations", "page"], planned: &[] };

/// The macro.
pub(crate) fn expand(input: TokenStream) -> TokenStream {
    // Set by cargo whenever it compiles a crate.
    match std::env::var_os("CARGO_MANIFEST_DIR") {
        Some(root) => expand_in(Path::new(&root), input),
        None => syn::Error::new(
            Span::call_site(),
            "`forge::module!` reads the migrations of its crate, and CARGO_MANIFEST_DIR does not say where that is: build with cargo",
        )
        .to_compile_error(),
    }
}

fn expand_in(root: &Path, input: TokenStream) -> TokenStream {
    let mut mistakes = Mistakes::default();
    let mut keys = GRAMMAR.read(input, &mut mistakes);
    let migrations = keys.text("migrations", "migrations", &mut mistakes);
    let page = keys.text("page", "frontend/dist", &mut mistakes);
    let migrations = read_migrations(root, migrations.as_ref(), &mut mistakes);
    let page = read_page(root, page.as_ref(), &mut mistakes);
    let mistakes = mistakes.into_tokens();
    quote! {
        #mistakes

        /// What this crate brings to an app: functions, models, migrations and the page.
        pub fn module() -> ::forge::Module {
            #page
            ::forge::__rt::Module::linked(
                ::core::env!("CARGO_PKG_NAME"),
                ::core::env!("CARGO_PKG_VERSION"),
                ::core::env!("CARGO_MANIFEST_DIR"),
                &[#(#migrations),*],
                PAGE,
            )
        }

        ::forge::__rt::inventory::submit! {
            ::forge::__rt::Registration::module(::core::env!("CARGO_PKG_NAME"), module)
        }
    }
}

/// A folder of the crate, with `/` between its parts.
fn folder(given: Option<&LitStr>, default: &str, mistakes: &mut Mistakes) -> String {
    let Some(given) = given else { return default.to_owned() };
    let text = given.value().trim_end_matches('/').to_owned();
    if text.is_empty() || Path::new(&text).is_absolute() || text.split('/').any(|part| part == "..") {
        mistakes.add(given, "a folder of this crate is named from its root, such as `migrations`");
        return default.to_owned();
    }
    text
}

fn read_migrations(root: &Path, given: Option<&LitStr>, mistakes: &mut Mistakes) -> Vec<TokenStream> {
    let folder = folder(given, "migrations", mistakes);
    let path = root.join(&folder);
    if !path.is_dir() {
        if let Some(given) = given {
            mistakes.add(given, format!("there is no folder `{folder}` in this crate"));
        }
        return Vec::new();
    }
    let files = match list_files(&path) {
        Ok(files) => files,
        Err(why) => {
            mistakes.add_error(syn::Error::new(
                Span::call_site(),
                format!("the migrations in `{folder}` cannot be read: {why}"),
            ));
            return Vec::new();
        }
    };
    let scripts = files.into_iter().filter(|file| !file.contains('/') && file.ends_with(".sql"));
    scripts
        .map(|file| {
            let below = format!("/{folder}/{file}");
            quote!((#file, ::core::include_str!(::core::concat!(::core::env!("CARGO_MANIFEST_DIR"), #below))))
        })
        .collect()
}

/// The constant `PAGE`. A debug build reads the page from the disk, so that it compiles before the page is built (the page
/// is built from what this crate describes).
fn read_page(root: &Path, given: Option<&LitStr>, mistakes: &mut Mistakes) -> TokenStream {
    let folder = folder(given, "frontend/dist", mistakes);
    let path = root.join(&folder);
    let built = path.join("index.html").is_file();
    let has_source = path.parent().is_some_and(|source| source.join("package.json").is_file());
    let empty = quote! {
        const PAGE: &[(&str, &[u8])] = &[];
    };
    if !built {
        let missing = (has_source || given.is_some()).then(|| {
            let message = format!(
                "the page is not built: `{folder}/index.html` is not there, and a release build embeds it; build the page first (`forge build` does both)"
            );
            quote!(#[cfg(not(debug_assertions))] ::core::compile_error!(#message);)
        });
        return quote!(#missing #empty);
    }
    let files = match list_files(&path) {
        Ok(files) => files,
        Err(why) => {
            mistakes.add_error(syn::Error::new(Span::call_site(), format!("the page in `{folder}` cannot be read: {why}")));
            return empty;
        }
    };
    let entries = files.iter().map(|file| {
        let below = format!("/{folder}/{file}");
        quote!((#file, ::core::include_bytes!(::core::concat!(::core::env!("CARGO_MANIFEST_DIR"), #below))))
    });
    quote! {
        #[cfg(not(debug_assertions))]
        const PAGE: &[(&str, &[u8])] = &[#(#entries),*];
        #[cfg(debug_assertions)]
        #empty
    }
}

/// All files below a folder, by their path from it with `/`, sorted.
fn list_files(folder: &Path) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    let mut waiting: Vec<(PathBuf, String)> = vec![(folder.to_owned(), String::new())];
    while let Some((path, prefix)) = waiting.pop() {
        let entries = std::fs::read_dir(&path).map_err(|why| format!("{}: {why}", path.display()))?;
        for entry in entries {
            let entry = entry.map_err(|why| format!("{}: {why}", path.display()))?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else {
                return Err(format!("{}: the name is not valid UTF-8", entry.path().display()));
            };
            let below = format!("{prefix}{name}");
            // Follows links, as the build that made them would.
            if entry.path().is_dir() {
                waiting.push((entry.path(), format!("{below}/")));
            } else {
                found.push(below);
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crate_with(files: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for file in files {
            let path = root.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        root
    }

    fn expansion(files: &[&str], input: TokenStream) -> String {
        expand_in(crate_with(files).path(), input).to_string()
    }

    #[test]
    fn migrations_are_listed_in_order_and_other_files_left_out() {
        let text = expansion(&["migrations/0002_b.sql", "migrations/0001_a.sql", "migrations/README.md"], quote!());
        let (first, second) = (text.find("0001_a.sql").unwrap(), text.find("0002_b.sql").unwrap());
        assert!(first < second);
        assert!(!text.contains("README"));
    }

    #[test]
    fn a_page_that_is_not_built_stops_a_release_build() {
        assert!(expansion(&["frontend/package.json"], quote!()).contains("the page is not built"));
        assert!(!expansion(&[], quote!()).contains("compile_error"));
        let built =
            expansion(&["frontend/package.json", "frontend/dist/index.html", "frontend/dist/assets/a.js"], quote!());
        assert!(built.contains("\"assets/a.js\"") && !built.contains("compile_error"), "{built}");
    }

    #[test]
    fn folders_stay_inside_of_the_crate() {
        assert!(expansion(&[], quote!(migrations = "../other")).contains("from its root"));
        assert!(expansion(&[], quote!(migrations = "sql")).contains("there is no folder `sql`"));
        assert!(expansion(&["sql/1.sql"], quote!(migrations = "sql/")).contains("\"/sql/1.sql\""));
    }
}
