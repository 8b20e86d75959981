//! The contract against a real containerd, which this module starts for itself: needs root,
//! `containerd`, `runc` and a static `busybox` and fails with that reason where one is missing.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::Client;
use crate::contract;
use crate::runtime::Runtime;

const TOOLS: &str = "rkind.local/tools:1";
const PAUSE: &str = "rkind.local/pause:test";

struct Containerd(Child);

impl Drop for Containerd {
    fn drop(&mut self) {
        // Shims outlive containerd on purpose; the contract has removed its sandboxes by now.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn sh(script: &str, dir: &Path) {
    let status = Command::new("sh")
        .arg("-euc")
        .arg(script)
        .current_dir(dir)
        .status()
        .expect("sh");
    assert!(
        status.success(),
        "needs root, containerd, runc, busybox-static and tar: failed: {script}"
    );
}

fn config(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        r#"version = 2
root = "{dir}/root"
state = "{dir}/state"
[grpc]
  address = "{dir}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  stream_server_address = "127.0.0.1"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
"#
    )
}

#[tokio::test]
async fn passes_the_contract() {
    let temp = tempfile::tempdir().expect("a directory");
    let dir = temp.path();
    std::fs::write(dir.join("config.toml"), config(dir)).expect("config");
    let log = std::fs::File::create(dir.join("containerd.log")).expect("log");
    let child = Command::new("containerd")
        .args(["--config".as_ref(), dir.join("config.toml").as_os_str()])
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("needs root and containerd");
    let _containerd = Containerd(child);
    let client = Client::new(dir.join("containerd.sock"));
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while client.version().await.is_err() {
        assert!(
            tokio::time::Instant::now() < deadline,
            "containerd does not answer: needs root"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    sh(
        "mkdir -p rootfs/bin rootfs/tmp; cp $(command -v busybox) rootfs/bin/busybox
         for a in sh sleep echo true; do ln -sf busybox rootfs/bin/$a; done
         tar -C rootfs -cf layer.tar .; id=$(sha256sum layer.tar | cut -d' ' -f1)
         for n in tools:1 pause:test; do
           case $n in pause*) cmd='\"sleep\",\"1000000\"';; *) cmd='\"sh\"';; esac
           printf '{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"Env\":[\"PATH=/bin\"],\"Entrypoint\":[%s]},\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:%s\"]}}' \"$cmd\" $id > config.json
           printf '[{\"Config\":\"config.json\",\"RepoTags\":[\"rkind.local/%s\"],\"Layers\":[\"layer.tar\"]}]' $n > manifest.json
           tar -cf image.tar manifest.json config.json layer.tar
           ctr -a containerd.sock -n k8s.io images import image.tar >/dev/null
         done",
        dir,
    );
    contract::run(&client, TOOLS, &dir.join("logs")).await;
}
