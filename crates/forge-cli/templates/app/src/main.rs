use forge::prelude::*;
use __CRATE__ as app;

#[tokio::main]
async fn main() -> forge::Result<()> {
    Forge::new().include(app::module()).run().await
}
