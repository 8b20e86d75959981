use super::*;

#[test]
fn reads_system_files() {
    assert_eq!(
        os_image("NAME=x\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n"),
        "Debian GNU/Linux 12 (bookworm)"
    );
    assert_eq!(os_image(""), "Linux");
    assert_eq!(
        memory_total("MemFree: 1 kB\nMemTotal:       24576 kB\n"),
        24576 * 1024
    );
}

#[test]
fn a_full_status() {
    let mut options = Options::new("n1", "192.0.2.7".parse().expect("an address"));
    options.cpus = Some(1.5);
    options.memory_bytes = Some(1 << 30);
    let version = v1::VersionResponse {
        runtime_name: "containerd".into(),
        runtime_version: "1.6.20~ds1".into(),
        ..Default::default()
    };
    let status = status(&options, Some(&version), &[]);
    let info = status.node_info.expect("info");
    assert_eq!(info.container_runtime_version, "containerd://1.6.20");
    assert_eq!(info.kubelet_version, "v1.35.0");
    assert!(!info.kernel_version.is_empty() && !info.boot_id.is_empty() && !info.system_uuid.is_empty());
    let capacity = status.capacity.expect("capacity");
    assert_eq!(
        (capacity["cpu"].0.as_str(), capacity["memory"].0.as_str()),
        ("1500m", "1048576Ki")
    );
    assert_eq!(status.allocatable.expect("allocatable")["memory"].0, "946176Ki");
    assert_eq!(status.addresses.expect("addresses")[0].address, "192.0.2.7");
}
