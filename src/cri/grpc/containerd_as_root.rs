//! The contract against a real containerd: see [`crate::testing`] for what that needs.

use crate::contract;
use crate::testing::{Containerd, TOOLS};

#[tokio::test]
async fn passes_the_contract() {
    let temp = tempfile::tempdir().expect("a directory");
    let containerd = Containerd::start(temp.path()).await;
    contract::run(&containerd.client(), TOOLS, &temp.path().join("logs")).await;
}
