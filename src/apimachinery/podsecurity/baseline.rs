//! What `baseline` forbids: known ways to more privilege. In the order of upstream's names of checks.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Level, Pod, Violation, go_quoted, named, own, plural, quoted, sorted, violation};

const CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Sysctls that are safe, with the minor version from which on.
const SYSCTLS: [(u32, &str); 12] = [
    (0, "kernel.shm_rmid_forced"),
    (0, "net.ipv4.ip_local_port_range"),
    (0, "net.ipv4.tcp_syncookies"),
    (0, "net.ipv4.ping_group_range"),
    (0, "net.ipv4.ip_unprivileged_port_start"),
    (27, "net.ipv4.ip_local_reserved_ports"),
    (29, "net.ipv4.tcp_keepalive_time"),
    (29, "net.ipv4.tcp_fin_timeout"),
    (29, "net.ipv4.tcp_keepalive_intvl"),
    (29, "net.ipv4.tcp_keepalive_probes"),
    (32, "net.ipv4.tcp_rmem"),
    (32, "net.ipv4.tcp_wmem"),
];

pub(super) fn check(pod: &Pod<'_>) -> Vec<Violation> {
    // A stricter level has checks of its own in place of some.
    let baseline = pod.level.level == Level::Baseline;
    let alone = |check: fn(&Pod<'_>) -> Option<Violation>, since: u32| {
        (baseline || !pod.level.since(since))
            .then(|| check(pod))
            .flatten()
    };
    [
        app_armor(pod),
        alone(capabilities, 22),
        host_namespaces(pod),
        alone(host_paths, 0),
        host_ports(pod),
        hosts(pod),
        privileged(pod),
        alone(proc_mount, 35),
        se_linux(pod),
        alone(seccomp, 19),
        sysctls(pod),
        windows(pod),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn app_armor(pod: &Pod<'_>) -> Option<Violation> {
    let bad = |profile: &Value| match profile["type"].as_str() {
        Some("RuntimeDefault" | "Localhost") | None => None,
        Some(other) => Some(other.to_owned()),
    };
    let of_pod = bad(pod.context("appArmorProfile"));
    let containers = pod.who(|c| bad(own(c, "appArmorProfile")).is_some());
    let values: BTreeSet<String> = pod
        .containers()
        .filter_map(|c| bad(own(c, "appArmorProfile")))
        .chain(of_pod.clone())
        .collect();
    let mut values: Vec<String> = values.into_iter().collect();
    let mut annotations: Vec<String> = pod
        .annotations
        .into_iter()
        .flatten()
        .filter(|(key, _)| key.starts_with("container.apparmor.security.beta.kubernetes.io/"))
        .filter_map(|(key, value)| Some((key, value.as_str()?)))
        .filter(|(_, value)| {
            !(value.is_empty() || *value == "runtime/default" || value.starts_with("localhost/"))
        })
        .map(|(key, value)| format!("{key}={}", go_quoted(value)))
        .collect();
    annotations.sort();
    let mut setters: Vec<String> = pod.setters(of_pod.is_some(), &containers).into_iter().collect();
    if !annotations.is_empty() {
        setters.push(plural("annotation", "annotations", annotations.len()).to_owned());
    }
    values.append(&mut annotations);
    if setters.is_empty() {
        return None;
    }
    Some(violation(
        plural(
            "forbidden AppArmor profile",
            "forbidden AppArmor profiles",
            values.len(),
        ),
        format!(
            "{} must not set AppArmor profile type to {}",
            setters.join(" and "),
            quoted(&values)
        ),
    ))
}

/// Names in a container's list of capabilities.
pub(super) fn listed<'a>(container: &'a Value, list: &str) -> impl Iterator<Item = &'a str> + use<'a> {
    let all = own(container, "capabilities")[list].as_array();
    all.into_iter().flatten().filter_map(Value::as_str)
}

fn capabilities(pod: &Pod<'_>) -> Option<Violation> {
    let bad = |name: &&str| !CAPABILITIES.contains(name);
    let containers = pod.who(|c| listed(c, "add").any(|name| bad(&name)));
    let names: BTreeSet<&str> = pod
        .containers()
        .flat_map(|c| listed(c, "add"))
        .filter(bad)
        .collect();
    (!containers.is_empty()).then(|| {
        violation(
            "non-default capabilities",
            format!(
                "{} must not include {} in securityContext.capabilities.add",
                named(&containers),
                quoted(&sorted(names))
            ),
        )
    })
}

fn host_namespaces(pod: &Pod<'_>) -> Option<Violation> {
    let used: Vec<String> = ["hostNetwork", "hostPID", "hostIPC"]
        .into_iter()
        .filter(|field| pod.spec[*field] == true)
        .map(|field| format!("{field}=true"))
        .collect();
    (!used.is_empty()).then(|| violation("host namespaces", used.join(", ")))
}

fn host_paths(pod: &Pod<'_>) -> Option<Violation> {
    let volumes: Vec<&str> = pod.spec["volumes"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|volume| volume["hostPath"].is_object())
        .filter_map(|volume| volume["name"].as_str())
        .collect();
    let word = plural("volume", "volumes", volumes.len());
    (!volumes.is_empty()).then(|| violation("hostPath volumes", format!("{word} {}", quoted(&volumes))))
}

fn host_ports(pod: &Pod<'_>) -> Option<Violation> {
    let of = |container: &Value| -> Vec<String> {
        let ports = container["ports"].as_array().into_iter().flatten();
        let ports = ports.filter_map(|port| port["hostPort"].as_u64());
        ports
            .filter(|port| *port != 0)
            .map(|port| port.to_string())
            .collect()
    };
    let containers = pod.who(|c| !of(c).is_empty());
    let ports: BTreeSet<String> = pod.containers().flat_map(of).collect();
    (!containers.is_empty()).then(|| {
        let ports: Vec<String> = ports.into_iter().collect();
        violation(
            "hostPort",
            format!(
                "{} {} {} {}",
                named(&containers),
                plural("uses", "use", containers.len()),
                plural("hostPort", "hostPorts", ports.len()),
                ports.join(", ")
            ),
        )
    })
}

/// Hosts that a container's probes and lifecycle hooks ask.
fn asked(container: &Value) -> impl Iterator<Item = &str> {
    let probes = ["livenessProbe", "readinessProbe", "startupProbe"].map(|probe| &container[probe]);
    let hooks = ["postStart", "preStop"].map(|hook| &container["lifecycle"][hook]);
    probes
        .into_iter()
        .chain(hooks)
        .flat_map(|handler| ["httpGet", "tcpSocket"].map(|kind| &handler[kind]["host"]))
        .filter_map(Value::as_str)
        .filter(|host| !host.is_empty())
}

fn hosts(pod: &Pod<'_>) -> Option<Violation> {
    if !pod.level.since(34) {
        return None;
    }
    let containers: BTreeSet<&str> = pod.who(|c| asked(c).next().is_some()).into_iter().collect();
    let hosts: BTreeSet<&str> = pod.containers().flat_map(asked).collect();
    (!containers.is_empty()).then(|| {
        let (containers, hosts) = (sorted(containers), sorted(hosts));
        violation(
            "probe or lifecycle host",
            format!(
                "{} {} {} {}",
                named(&containers),
                plural("uses", "use", containers.len()),
                plural("probe or lifecycle host", "probe or lifecycle hosts", hosts.len()),
                quoted(&hosts)
            ),
        )
    })
}

fn privileged(pod: &Pod<'_>) -> Option<Violation> {
    let containers = pod.who(|c| own(c, "privileged") == true);
    (!containers.is_empty()).then(|| {
        let detail = format!(
            "{} must not set securityContext.privileged=true",
            named(&containers)
        );
        violation("privileged", detail)
    })
}

fn proc_mount(pod: &Pod<'_>) -> Option<Violation> {
    if pod.level.since(35) && pod.is_user_namespaced() {
        return None;
    }
    masked(pod)
}

/// `/proc` must be mounted with its masks.
pub(super) fn masked(pod: &Pod<'_>) -> Option<Violation> {
    let bad = |c: &Value| {
        own(c, "procMount")
            .as_str()
            .is_some_and(|mount| mount != "Default")
    };
    let containers = pod.who(bad);
    let values: BTreeSet<&str> = pod
        .containers()
        .filter(|c| bad(c))
        .filter_map(|c| own(c, "procMount").as_str())
        .collect();
    (!containers.is_empty()).then(|| {
        violation(
            "procMount",
            format!(
                "{} must not set securityContext.procMount to {}",
                named(&containers),
                quoted(&sorted(values))
            ),
        )
    })
}

fn se_linux(pod: &Pod<'_>) -> Option<Violation> {
    let engine = pod.level.since(31);
    let bad_type = |options: &Value| {
        let kind = options["type"].as_str().unwrap_or_default();
        let good = matches!(kind, "" | "container_t" | "container_init_t" | "container_kvm_t")
            || engine && kind == "container_engine_t";
        (!good).then(|| kind.to_owned())
    };
    let set = |options: &Value, field: &str| options[field].as_str().is_some_and(|text| !text.is_empty());
    let bad = |options: &Value| bad_type(options).is_some() || set(options, "user") || set(options, "role");
    let of_pod = pod.context("seLinuxOptions");
    let containers = pod.who(|c| bad(own(c, "seLinuxOptions")));
    let setters = pod.setters(bad(of_pod), &containers)?;
    let all = || pod.containers().map(|c| own(c, "seLinuxOptions")).chain([of_pod]);
    let types: BTreeSet<String> = all().filter_map(bad_type).collect();
    let mut data = Vec::new();
    if !types.is_empty() {
        let types: Vec<String> = types.into_iter().collect();
        let word = plural("type", "types", types.len());
        data.push(format!("{word} {}", quoted(&types)));
    }
    for field in ["user", "role"] {
        if all().any(|options| set(options, field)) {
            data.push(format!("{field} may not be set"));
        }
    }
    Some(violation(
        "seLinuxOptions",
        format!(
            "{setters} set forbidden securityContext.seLinuxOptions: {}",
            data.join("; ")
        ),
    ))
}

/// The profile type when it is set and bad.
pub(super) fn bad_seccomp(profile: &Value) -> Option<&str> {
    if !profile.is_object() {
        return None;
    }
    let kind = profile["type"].as_str().unwrap_or_default();
    (!matches!(kind, "RuntimeDefault" | "Localhost")).then_some(kind)
}

/// Who sets a bad profile, and which.
pub(super) fn seccomp_set(pod: &Pod<'_>) -> Option<Violation> {
    let of_pod = bad_seccomp(pod.context("seccompProfile"));
    let containers = pod.who(|c| bad_seccomp(own(c, "seccompProfile")).is_some());
    let setters = pod.setters(of_pod.is_some(), &containers)?;
    let values: BTreeSet<&str> = pod
        .containers()
        .filter_map(|c| bad_seccomp(own(c, "seccompProfile")))
        .chain(of_pod)
        .collect();
    Some(violation(
        "seccompProfile",
        format!(
            "{setters} must not set securityContext.seccompProfile.type to {}",
            quoted(&sorted(values))
        ),
    ))
}

fn seccomp(pod: &Pod<'_>) -> Option<Violation> {
    if pod.level.since(19) {
        return seccomp_set(pod);
    }
    // Before the fields came, annotations said it.
    let annotation = |key: String| {
        let value = pod.annotations?.get(&key)?.as_str()?;
        let good = matches!(value, "runtime/default" | "docker/default") || value.starts_with("localhost/");
        (!good).then(|| format!("{key}={}", go_quoted(value)))
    };
    let of_containers = pod.containers().map(|c| {
        let name = c["name"].as_str().unwrap_or_default();
        format!("container.seccomp.security.alpha.kubernetes.io/{name}")
    });
    let bad: BTreeSet<String> = std::iter::once("seccomp.security.alpha.kubernetes.io/pod".to_owned())
        .chain(of_containers)
        .filter_map(annotation)
        .collect();
    (!bad.is_empty()).then(|| {
        let bad: Vec<String> = bad.into_iter().collect();
        let word = plural("annotation", "annotations", bad.len());
        violation("seccompProfile", format!("forbidden {word} {}", bad.join(", ")))
    })
}

fn sysctls(pod: &Pod<'_>) -> Option<Violation> {
    let safe = |name: &str| {
        SYSCTLS
            .iter()
            .any(|(since, safe)| *safe == name && pod.level.since(*since))
    };
    let bad: Vec<&str> = pod
        .context("sysctls")
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|sysctl| sysctl["name"].as_str())
        .filter(|name| !safe(name))
        .collect();
    (!bad.is_empty()).then(|| violation("forbidden sysctls", bad.join(", ")))
}

fn windows(pod: &Pod<'_>) -> Option<Violation> {
    let containers = pod.who(|c| own(c, "windowsOptions")["hostProcess"] == true);
    let of_pod = pod.context("windowsOptions")["hostProcess"] == true;
    let setters = pod.setters(of_pod, &containers)?;
    Some(violation(
        "hostProcess",
        format!("{setters} must not set securityContext.windowsOptions.hostProcess=true"),
    ))
}
