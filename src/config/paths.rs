//! Where things lie inside a node. Host side and node side both read these.

/// The one binary: the CLI on the host, every role in a node.
pub const BINARY: &str = "/usr/local/bin/rkind";
/// Directory of everything the host hands to a node.
pub const CONFIG_DIR: &str = "/etc/rkind";
/// [`crate::NodeConfig`] as YAML, mode 0600.
pub const NODE_CONFIG: &str = "/etc/rkind/node.yaml";

/// Kubeconfigs that PID 1 writes from the [`crate::NodeConfig`], mode 0600.
pub const ADMIN_KUBECONFIG: &str = "/etc/rkind/admin.kubeconfig";
pub const KUBELET_KUBECONFIG: &str = "/etc/rkind/kubelet.kubeconfig";
pub const PROXY_KUBECONFIG: &str = "/etc/rkind/proxy.kubeconfig";
pub const CONTROLLER_MANAGER_KUBECONFIG: &str = "/etc/rkind/controller-manager.kubeconfig";
pub const SCHEDULER_KUBECONFIG: &str = "/etc/rkind/scheduler.kubeconfig";

/// Data of the store on a control-plane node; `/var` is a volume.
pub const STORE_DIR: &str = "/var/lib/rkind/store";
/// The kubelet's root: `pods/<uid>/{volumes,containers,...}`.
pub const KUBELET_DIR: &str = "/var/lib/kubelet";
/// `<namespace>_<name>_<uid>/<container>/<n>.log`
pub const POD_LOG_DIR: &str = "/var/log/pods";
/// Symlinks into [`POD_LOG_DIR`] under the names that log collectors expect.
pub const CONTAINER_LOG_DIR: &str = "/var/log/containers";

/// containerd, from Debian.
pub const CONTAINERD_BINARY: &str = "/usr/bin/containerd";
pub const CONTAINERD_SOCKET: &str = "/run/containerd/containerd.sock";
pub const CONTAINERD_CONFIG: &str = "/etc/containerd/config.toml";
/// `hosts.toml` files per registry host, read by containerd at each pull.
pub const CONTAINERD_REGISTRY_DIR: &str = "/etc/containerd/certs.d";
/// The containerd namespace that CRI uses.
pub const CONTAINERD_NAMESPACE: &str = "k8s.io";

pub const CNI_CONF_DIR: &str = "/etc/cni/net.d";
/// Written by the agent once the node's podCIDR is known.
pub const CNI_CONFLIST: &str = "/etc/cni/net.d/10-rkind.conflist";
pub const CNI_BIN_DIR: &str = "/opt/cni/bin";
/// Address leases of pods.
pub const CNI_LEASE_DIR: &str = "/var/lib/cni/rkind";

/// pids, sockets and marks that must not survive a restart.
pub const RUN_DIR: &str = "/run/rkind";
/// Appears when the API server of this node answers `/readyz`.
pub const APISERVER_READY: &str = "/run/rkind/apiserver.ready";

/// Archives of the images that a cluster needs to start without a network. They
/// are in [`VAR_TEMPLATE`] too, unpacked.
pub const IMAGE_ARCHIVE_DIR: &str = "/usr/local/share/rkind/images";

/// What a fresh `/var` begins with: our images, unpacked by containerd.
pub const VAR_TEMPLATE: &str = "/usr/local/share/rkind/var";

/// Upstream's default sandbox image; ours is inside the node image.
pub const PAUSE_IMAGE: &str = "registry.k8s.io/pause:3.10";
/// busybox with its applets.
pub const TOOLS_IMAGE: &str = "rkind.local/tools:1";

pub const APISERVER_PORT: u16 = 6443;
pub const KUBELET_PORT: u16 = 10250;
