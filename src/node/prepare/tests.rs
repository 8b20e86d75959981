use super::*;

#[test]
fn cgroup_mounts_of_both_versions() {
    let v1 = "30 25 0:26 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro\n\
              31 30 0:27 /docker/x /sys/fs/cgroup/memory ro,nosuid master:5 - cgroup cgroup rw,memory\n\
              32 30 0:28 / /other/cgroup ro - cgroup cgroup rw,cpu\n";
    assert_eq!(cgroup_mounts(v1), ["/sys/fs/cgroup/memory"]);
    let v2 = "30 25 0:26 / /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw\n";
    assert_eq!(cgroup_mounts(v2), ["/sys/fs/cgroup"]);
}

#[test]
fn capabilities_are_read_from_the_effective_set() {
    let status = "Name:\tx\nCapPrm:\t000001ffffffffff\nCapEff:\t000001fffeffffff\n";
    assert!(!has_capability(status, CAP_SYS_RESOURCE));
    assert!(has_capability(status, 21));
    assert!(!has_capability("", 21));
}

#[test]
fn one_setting_is_replaced_and_nothing_else() {
    let text = "a = 1\n  restrict_oom_score_adj = false\n[b]\n";
    assert_eq!(
        set_toml_bool(text, "restrict_oom_score_adj", true).as_deref(),
        Some("a = 1\n  restrict_oom_score_adj = true\n[b]\n")
    );
    assert_eq!(set_toml_bool(text, "missing", true), None);
}
