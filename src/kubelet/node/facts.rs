//! What the machine is: read from `/proc` and `/etc`.

use std::collections::BTreeMap;
use std::path::Path;

use k8s_openapi::api::core::v1::{
    ContainerImage, DaemonEndpoint, NodeAddress, NodeDaemonEndpoints, NodeStatus, NodeSystemInfo,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use rkind_cri::v1;

use crate::agent::Machine;
use crate::options::Options;

/// Memory kept from pods, so that the machine itself never starves.
const RESERVED_MEMORY: u64 = 100 << 20;
/// Most images that the status lists.
const MAX_IMAGES: usize = 50;

/// Go's name of the processor architecture.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path)
        .unwrap_or_default()
        .trim()
        .to_string()
}

/// `PRETTY_NAME` of an os-release file.
pub(crate) fn os_image(text: &str) -> String {
    let value = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    value.map_or_else(
        || "Linux".to_string(),
        |v| v.trim_matches(['"', '\'']).to_string(),
    )
}

/// `MemTotal` of meminfo, in bytes.
pub(crate) fn memory_total(text: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok())
        .unwrap_or(0)
        * 1024
}

fn cpus(options: &Options) -> f64 {
    let machine = std::thread::available_parallelism().map_or(1.0, |n| n.get() as f64);
    options.cpus.unwrap_or(machine)
}

fn memory(options: &Options) -> u64 {
    options
        .memory_bytes
        .unwrap_or_else(|| memory_total(&read("/proc/meminfo")))
}

/// What pods may use.
pub(crate) fn machine(options: &Options) -> Machine {
    Machine {
        cpu: (cpus(options) * 1000.0) as i64,
        memory: i64::try_from(memory(options).saturating_sub(RESERVED_MEMORY)).unwrap_or(i64::MAX),
    }
}

/// The status apart from its conditions.
pub(crate) fn status(
    options: &Options,
    version: Option<&v1::VersionResponse>,
    images: &[v1::Image],
) -> NodeStatus {
    let milli = (cpus(options) * 1000.0) as i64;
    let cpu = if milli % 1000 == 0 {
        (milli / 1000).to_string()
    } else {
        format!("{milli}m")
    };
    let memory = memory(options);
    let disk =
        nix::sys::statvfs::statvfs(existing(&options.root_dir)).map_or(0, |s| s.blocks() * s.fragment_size());
    let list = |memory: u64, disk: String| {
        BTreeMap::from([
            ("cpu".to_string(), Quantity(cpu.clone())),
            ("memory".to_string(), Quantity(format!("{}Ki", memory / 1024))),
            ("pods".to_string(), Quantity(options.max_pods.to_string())),
            ("ephemeral-storage".to_string(), Quantity(disk)),
            ("hugepages-1Gi".to_string(), Quantity("0".into())),
            ("hugepages-2Mi".to_string(), Quantity("0".into())),
        ])
    };
    let address = |kind: &str, address: String| NodeAddress {
        type_: kind.into(),
        address,
    };
    let runtime = version.map_or_else(
        || "containerd://unknown".to_string(),
        // Distributions add their own suffix to the runtime's version.
        |v| {
            format!(
                "{}://{}",
                v.runtime_name,
                v.runtime_version
                    .trim_start_matches('v')
                    .split('~')
                    .next()
                    .unwrap_or_default()
            )
        },
    );
    NodeStatus {
        addresses: Some(vec![
            address("InternalIP", options.node_ip.to_string()),
            address("Hostname", options.node_name.clone()),
        ]),
        capacity: Some(list(memory, format!("{}Ki", disk / 1024))),
        allocatable: Some(list(
            memory.saturating_sub(RESERVED_MEMORY),
            (disk / 10 * 9).to_string(),
        )),
        daemon_endpoints: Some(NodeDaemonEndpoints {
            kubelet_endpoint: Some(DaemonEndpoint {
                port: i32::from(options.listen.port()),
            }),
        }),
        images: Some(image_list(images)),
        node_info: Some(NodeSystemInfo {
            architecture: architecture().into(),
            boot_id: read("/proc/sys/kernel/random/boot_id"),
            container_runtime_version: runtime,
            kernel_version: read("/proc/sys/kernel/osrelease"),
            kube_proxy_version: String::new(),
            kubelet_version: options.version.clone(),
            machine_id: Some(read("/etc/machine-id"))
                .filter(|id| !id.is_empty())
                .unwrap_or_else(|| system_uuid(options).replace('-', "")),
            operating_system: "linux".into(),
            os_image: os_image(&read("/etc/os-release")),
            swap: None,
            system_uuid: system_uuid(options),
        }),
        ..NodeStatus::default()
    }
}

fn existing(path: &Path) -> &Path {
    if path.exists() { path } else { Path::new("/") }
}

fn system_uuid(options: &Options) -> String {
    let firmware = read("/sys/class/dmi/id/product_uuid");
    if !firmware.is_empty() {
        return firmware;
    }
    // A container has no firmware to ask: derive a stable one from what identifies the node.
    use sha2::Digest;
    let digest = sha2::Sha256::digest(format!("{}/{}", read("/etc/machine-id"), options.node_name));
    let bytes: [u8; 16] = std::array::from_fn(|i| digest[i]);
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}

/// The largest images first, each with its names, digests before tags.
fn image_list(images: &[v1::Image]) -> Vec<ContainerImage> {
    let mut sorted: Vec<&v1::Image> = images.iter().collect();
    sorted.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.id.cmp(&b.id)));
    let names = |image: &v1::Image| {
        image
            .repo_digests
            .iter()
            .chain(&image.repo_tags)
            .take(5)
            .cloned()
            .collect::<Vec<_>>()
    };
    sorted
        .into_iter()
        .take(MAX_IMAGES)
        .map(|image| ContainerImage {
            names: Some(names(image)),
            size_bytes: Some(i64::try_from(image.size).unwrap_or(i64::MAX)),
        })
        .collect()
}

#[cfg(test)]
mod tests;
