use std::time::Duration;

use super::{Behaviour, ExecReply, Fake};
use crate::contract;
use crate::runtime::Runtime;

#[tokio::test]
async fn passes_the_contract() {
    let fake = Fake::new();
    fake.add_image("rkind.local/tools:1", Behaviour::Run);
    fake.on_exec(
        "sh -c exit 7",
        ExecReply {
            exit_code: 7,
            ..ExecReply::default()
        },
    );
    fake.on_exec(
        "echo hello",
        ExecReply {
            stdout: "hello\n".into(),
            ..ExecReply::default()
        },
    );
    fake.on_exec(
        "sleep 30",
        ExecReply {
            takes: Duration::from_secs(30),
            ..ExecReply::default()
        },
    );
    contract::run(&fake, "rkind.local/tools:1", std::path::Path::new("/nowhere")).await;
}

#[tokio::test]
async fn scripted_failures_come_and_go() {
    let fake = Fake::new();
    fake.fail("Version", 1, "no");
    assert_eq!(fake.version().await.unwrap_err().message, "no");
    assert!(fake.version().await.is_ok());
    assert_eq!(fake.calls("Version"), 2);
}
