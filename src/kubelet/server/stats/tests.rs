use super::*;

#[test]
fn both_cgroup_versions() {
    let temp = tempfile::tempdir().expect("a directory");
    let root = temp.path();
    let put = |path: &str, text: &str| {
        let file = root.join(path);
        std::fs::create_dir_all(file.parent().expect("a parent")).expect("a directory");
        std::fs::write(file, text).expect("a file");
    };
    assert_eq!(read_cgroup(root, 1), None);
    put("memory/memory.usage_in_bytes", "100\n");
    put("memory/memory.stat", "total_rss 30\ntotal_inactive_file 40\n");
    put("cpuacct/cpuacct.usage", "5\n");
    let want = Sample {
        at: 1,
        cpu: 5,
        rate: None,
        working_set: 60,
        usage: 100,
        rss: 30,
    };
    assert_eq!(read_cgroup(root, 1), Some(want));
    put("cgroup.controllers", "cpu memory");
    put("memory.current", "200\n");
    put("memory.stat", "anon 50\ninactive_file 20\n");
    put("cpu.stat", "usage_usec 7\nuser_usec 1\n");
    let want = Sample {
        at: 1,
        cpu: 7000,
        rate: None,
        working_set: 180,
        usage: 200,
        rss: 50,
    };
    assert_eq!(read_cgroup(root, 1), Some(want));
    assert!(read_proc(1).usage > 0);
}

#[test]
fn rates_come_from_two_samples() {
    let stats = Stats::new(None);
    let first = stats.rated(
        "c",
        Sample {
            at: 1_000_000_000,
            cpu: 0,
            ..Sample::default()
        },
    );
    assert_eq!(first.rate, None);
    let second = stats.rated(
        "c",
        Sample {
            at: 3_000_000_000,
            cpu: 500_000_000,
            ..Sample::default()
        },
    );
    assert_eq!(second.rate, Some(250_000_000));
}

#[test]
fn metrics_name_containers_pods_and_node() {
    let usage = Usage {
        namespace: "n".into(),
        pod: "p".into(),
        uid: "u".into(),
        container: "c".into(),
        sample: Sample {
            at: 2_000_000,
            cpu: 1_500_000_000,
            working_set: 42,
            ..Sample::default()
        },
        disk: 0,
        started: 4_000_000_000,
    };
    let text = resource_text(&[usage], &Sample::default());
    assert!(
        text.contains("container_cpu_usage_seconds_total{container=\"c\",namespace=\"n\",pod=\"p\"} 1.5 2\n")
    );
    assert!(text.contains("pod_memory_working_set_bytes{namespace=\"n\",pod=\"p\"} 42 2\n"));
    assert!(text.contains("container_start_time_seconds{container=\"c\",namespace=\"n\",pod=\"p\"} 4\n"));
    assert!(text.contains("node_cpu_usage_seconds_total 0 0\n"));
}
