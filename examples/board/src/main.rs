//! The program: everything is in the library, so that tests and tools can use it.

use forge::prelude::*;

#[tokio::main]
async fn main() -> forge::Result<()> {
    if let Ok(hosts) = std::env::var("BOARD_IMPORT_HOSTS") {
        board::imports::allow_hosts(hosts.split(',').map(str::trim));
    }
    Forge::new().include(board::module()).run().await
}
