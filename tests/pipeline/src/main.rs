//! The program of the test app, for tests that kill it.

use forge::prelude::*;

#[tokio::main]
async fn main() -> forge::Result<()> {
    Forge::new().include(pipeline::module()).run().await
}
