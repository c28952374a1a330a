//! Tells cargo what the app is built from beside its sources.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
    // Only a release build has the page inside.
    if std::env::var_os("CARGO_CFG_DEBUG_ASSERTIONS").is_none() {
        println!("cargo:rerun-if-changed=frontend/dist");
    }
}
