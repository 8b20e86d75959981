use super::*;
use crate::mount::parse_mountinfo;

#[test]
fn controllers_make_the_version() {
    let hybrid = "30 1 0:20 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
        31 30 0:21 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
        32 30 0:22 / /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n\
        33 30 0:23 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n\
        34 30 0:24 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
    let found = Cgroups::from_mounts(&parse_mountinfo(hybrid).unwrap()).unwrap();
    assert_eq!(found.version(), Version::V1);
    assert!(found.has("memory") && found.has("cpuacct") && !found.has("pids"));
    assert_eq!(
        found.directory("cpuacct", "/kubepods/x"),
        Some(PathBuf::from("/sys/fs/cgroup/cpu,cpuacct/kubepods/x"))
    );
    let unified = "34 1 0:24 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n";
    assert_eq!(
        Cgroups::from_mounts(&parse_mountinfo(unified).unwrap())
            .unwrap()
            .version(),
        Version::V2
    );
    let none = Cgroups::from_mounts(&[]).unwrap_err().to_string();
    assert!(none.contains("mount /sys/fs/cgroup"), "{none}");
}

#[test]
fn shares_become_weights_as_upstream_computes_them() {
    for (shares, weight) in [
        (2, 1),
        (0, 1),
        (1024, 39),
        (102_400, 3906),
        (262_144, 10_000),
        (u64::MAX, 10_000),
    ] {
        assert_eq!(weight_of_shares(shares), weight, "{shares}");
    }
}

#[test]
fn limits_become_files_of_either_version() {
    let limits = Limits {
        cpu_shares: Some(512),
        cpu_quota_us: Some(50_000),
        memory_bytes: Some(-1),
        pids: Some(100),
        hugepages: vec![("2MB".into(), 4096)],
        ..Limits::default()
    };
    let text = |v| {
        limits
            .files(v)
            .iter()
            .map(|(_, f, v)| format!("{f}={v}"))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        text(Version::V1),
        [
            "cpu.shares=512",
            "cpu.cfs_quota_us=50000",
            "memory.limit_in_bytes=-1",
            "pids.max=100",
            "hugetlb.2MB.limit_in_bytes=4096"
        ]
    );
    assert_eq!(
        text(Version::V2),
        [
            "cpu.weight=20",
            "cpu.max=50000 100000",
            "memory.max=max",
            "pids.max=100",
            "hugetlb.2MB.max=4096"
        ]
    );
}

mod needs_root {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_group_limits_counts_and_kills_what_is_inside() {
        let cgroups = Cgroups::detect().unwrap();
        cgroups.make_writable().unwrap();
        let (top, group) = (
            format!("/rkind-test-{}", std::process::id()),
            format!("/rkind-test-{}/a/b", std::process::id()),
        );
        cgroups.create(&group).unwrap();
        cgroups.create(&group).unwrap();
        assert!(cgroups.exists(&group));
        assert_eq!(cgroups.children(&top).unwrap(), ["a"]);
        let limits = Limits {
            cpu_shares: Some(256),
            memory_bytes: Some(64 << 20),
            pids: Some(32),
            ..Limits::default()
        };
        cgroups.set_limits(&group, &limits).unwrap();

        let mut child = Command::new("sh")
            .args(["-c", "read x; :"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        cgroups.add_process(&group, child.id()).unwrap();
        assert_eq!(cgroups.processes(&group).unwrap(), [child.id()]);
        assert_eq!(cgroups.all_processes(&top).unwrap(), [child.id()]);
        assert_eq!(cgroups.usage(&group).unwrap().pids, 1);
        assert!(cgroups.remove(&top).is_err());
        cgroups.kill(&top).unwrap();
        child.wait().unwrap();
        cgroups.remove(&top).unwrap();
        cgroups.remove(&top).unwrap();
        assert!(!cgroups.exists(&group));
    }
}
