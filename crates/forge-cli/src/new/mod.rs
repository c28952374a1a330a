pub(crate) fn run(_: &std::path::Path, _: Option<&std::path::Path>) -> forge_core::Result<()> { Ok(()) }
