//! The driver's contract on a real engine.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use rkind_driver::{Driver, contract};

use crate::DockerDriver;

/// An image with nothing but a static busybox of this machine.
async fn shell_image(driver: &DockerDriver) -> String {
    let reference = "rkind.local/driver-contract:1".to_owned();
    if driver
        .local_image(&reference)
        .await
        .expect("look for the image")
        .is_some()
    {
        return reference;
    }
    let busybox = ["/bin/busybox", "/usr/bin/busybox"]
        .iter()
        .find_map(|p| std::fs::read(p).ok());
    let busybox = busybox.expect("this test needs a static busybox: apt-get install busybox-static");
    let mut layer = tar::Builder::new(Vec::new());
    let mut add = |path: &str, mode, kind, content: &[u8], link: Option<&str>| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        match link {
            Some(target) => layer.append_link(&mut header, path, target).unwrap(),
            None => layer.append_data(&mut header, path, content).unwrap(),
        }
    };
    for dir in ["bin", "etc", "var", "run", "tmp", "proc", "sys", "dev"] {
        add(dir, 0o755, tar::EntryType::Directory, &[], None);
    }
    add("bin/busybox", 0o755, tar::EntryType::Regular, &busybox, None);
    for applet in ["sh", "cat", "sleep", "test", "true"] {
        add(
            &format!("bin/{applet}"),
            0o777,
            tar::EntryType::Symlink,
            &[],
            Some("busybox"),
        );
    }
    let layer = layer.into_inner().unwrap();
    let options = bollard::query_parameters::CreateImageOptionsBuilder::default()
        .from_src("-")
        .repo("rkind.local/driver-contract")
        .tag("1")
        .build();
    let body = bollard::body_full(Bytes::from(layer));
    let mut progress = std::pin::pin!(driver.docker.create_image(Some(options), Some(body), None));
    while let Some(step) = progress.next().await {
        step.expect("import the test image");
    }
    reference
}

#[tokio::test]
async fn docker_keeps_the_contract() {
    let driver = DockerDriver::connect()
        .await
        .expect("this test needs a Docker engine");
    let image = shell_image(&driver).await;
    let prefix = format!("rkt{}", std::process::id());
    contract::run(Arc::new(driver), &image, &prefix).await;
}
