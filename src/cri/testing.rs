//! A containerd of one's own, for tests that hold something against the real runtime: needs root,
//! `containerd`, `runc`, `ctr` and a static `busybox`, and fails with that reason where one is missing.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::grpc::Client;
use crate::runtime::Runtime;

/// An image that holds busybox; its applets `sh`, `sleep`, `echo`, `cat`, `true`, `test` are in the path.
pub const TOOLS: &str = "rkind.local/tools:1";
const PAUSE: &str = "rkind.local/pause:test";

/// A running containerd with everything it keeps in one directory. Ends with its value.
#[derive(Debug)]
pub struct Containerd {
    child: Child,
    socket: PathBuf,
}

impl Drop for Containerd {
    fn drop(&mut self) {
        // Shims outlive containerd on purpose: a test removes its sandboxes first.
        let _ = self.child.kill();
        let _ = self.child.wait();
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
        "needs root, containerd, runc, ctr, busybox-static and tar: failed: {script}"
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

impl Containerd {
    /// Starts one that keeps everything in `dir`, with [`TOOLS`] imported. It has no pod network:
    /// only pods of the machine's own network run.
    ///
    /// # Panics
    /// When something that it needs is missing.
    pub async fn start(dir: &Path) -> Self {
        std::fs::write(dir.join("config.toml"), config(dir)).expect("config");
        let log = std::fs::File::create(dir.join("containerd.log")).expect("log");
        let child = Command::new("containerd")
            .args(["--config".as_ref(), dir.join("config.toml").as_os_str()])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("needs root and containerd");
        let containerd = Self {
            child,
            socket: dir.join("containerd.sock"),
        };
        let client = containerd.client();
        let deadline = Instant::now() + Duration::from_secs(30);
        while client.version().await.is_err() {
            assert!(
                Instant::now() < deadline,
                "containerd does not answer: needs root"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        sh(
            "mkdir -p rootfs/bin rootfs/tmp; cp $(command -v busybox) rootfs/bin/busybox
             for a in sh sleep echo cat true test; do ln -sf busybox rootfs/bin/$a; done
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
        containerd
    }

    /// A client of it.
    pub fn client(&self) -> Client {
        Client::new(&self.socket)
    }
}
