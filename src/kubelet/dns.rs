//! What a pod's `/etc/resolv.conf` and `/etc/hosts` say: pure.
//!
//! <https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/>

use k8s_openapi::api::core::v1::Pod;
use rkind_cri::v1::DnsConfig;

use crate::pod::PodExt;

const MAX_NAMESERVERS: usize = 3;
const MAX_SEARCHES: usize = 32;
const MAX_HOSTNAME: usize = 63;

/// The parts of a resolv.conf.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ResolvConf {
    pub(crate) servers: Vec<String>,
    pub(crate) searches: Vec<String>,
    pub(crate) options: Vec<String>,
}

/// Reads a resolv.conf; unknown lines are skipped.
pub(crate) fn parse_resolv_conf(text: &str) -> ResolvConf {
    let mut conf = ResolvConf::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => conf.servers.extend(words.next().map(str::to_string)),
            Some("search") => {
                conf.searches = words
                    .map(|w| if w == "." { w } else { w.trim_end_matches('.') }.to_string())
                    .collect()
            }
            Some("options") => conf.options = words.map(str::to_string).collect(),
            _ => {}
        }
    }
    conf
}

/// The DNS configuration of a pod. `cluster_dns` empty: pods get the machine's own.
pub(crate) fn pod_dns(pod: &Pod, host: &ResolvConf, cluster_dns: &[String], domain: &str) -> DnsConfig {
    let spec = pod.spec();
    let policy = spec.dns_policy.as_deref().unwrap_or("ClusterFirst");
    let cluster = match policy {
        "ClusterFirstWithHostNet" => true,
        "ClusterFirst" => !pod.host_network(),
        _ => false,
    };
    let mut conf = if policy == "None" {
        ResolvConf::default()
    } else if cluster && !cluster_dns.is_empty() {
        let namespace = pod.namespace();
        let mut searches = vec![
            format!("{namespace}.svc.{domain}"),
            format!("svc.{domain}"),
            domain.to_string(),
        ];
        searches.extend(host.searches.iter().cloned());
        ResolvConf {
            servers: cluster_dns.to_vec(),
            searches,
            options: vec!["ndots:5".into()],
        }
    } else {
        host.clone()
    };
    if let Some(own) = &spec.dns_config {
        conf.servers.extend(own.nameservers.iter().flatten().cloned());
        conf.searches.extend(own.searches.iter().flatten().cloned());
        for option in own.options.iter().flatten() {
            let Some(name) = option.name.as_deref() else {
                continue;
            };
            // The pod's own option replaces one of the same name.
            conf.options.retain(|o| o.split(':').next() != Some(name));
            conf.options
                .push(match option.value.as_deref().filter(|v| !v.is_empty()) {
                    Some(value) => format!("{name}:{value}"),
                    None => name.to_string(),
                });
        }
    }
    DnsConfig {
        servers: unique(conf.servers, MAX_NAMESERVERS),
        searches: unique(conf.searches, MAX_SEARCHES),
        options: unique(conf.options, usize::MAX),
    }
}

fn unique(list: Vec<String>, most: usize) -> Vec<String> {
    let mut seen = std::collections::HashSet::new();
    list.into_iter()
        .filter(|item| seen.insert(item.clone()))
        .take(most)
        .collect()
}

/// A pod's hostname and domain. The domain is empty without a subdomain.
pub(crate) fn hostname(pod: &Pod, cluster_domain: &str) -> (String, String) {
    let spec = pod.spec();
    if let Some(own) = spec.hostname_override.as_deref().filter(|h| !h.is_empty()) {
        return (own.to_string(), String::new());
    }
    let name = match spec.hostname.as_deref().filter(|h| !h.is_empty()) {
        Some(name) => name.to_string(),
        None => {
            let cut: String = pod.name().chars().take(MAX_HOSTNAME).collect();
            cut.trim_end_matches(['-', '.']).to_string()
        }
    };
    let domain = match spec.subdomain.as_deref().filter(|s| !s.is_empty()) {
        Some(subdomain) => format!("{subdomain}.{}.svc.{cluster_domain}", pod.namespace()),
        None => String::new(),
    };
    (name, domain)
}

/// Content of the managed `/etc/hosts`. `host_file` is the machine's own, for pods on its network.
pub(crate) fn etc_hosts(pod: &Pod, pod_ips: &[String], cluster_domain: &str, host_file: &str) -> String {
    let (name, domain) = hostname(pod, cluster_domain);
    let mut text = String::new();
    if pod.host_network() {
        text.push_str("# Kubernetes-managed hosts file (host network).\n");
        text.push_str(host_file);
    } else {
        text.push_str("# Kubernetes-managed hosts file.\n");
        text.push_str("127.0.0.1\tlocalhost\n");
        text.push_str("::1\tlocalhost ip6-localhost ip6-loopback\n");
        text.push_str("fe00::0\tip6-localnet\n");
        text.push_str("fe00::0\tip6-mcastprefix\n");
        text.push_str("fe00::1\tip6-allnodes\n");
        text.push_str("fe00::2\tip6-allrouters\n");
        for ip in pod_ips {
            if domain.is_empty() {
                text.push_str(&format!("{ip}\t{name}\n"));
            } else {
                text.push_str(&format!("{ip}\t{name}.{domain}\t{name}\n"));
            }
        }
    }
    let aliases = pod.spec().host_aliases.as_deref().unwrap_or_default();
    if !aliases.is_empty() {
        text.push_str("\n# Entries added by HostAliases.\n");
        for alias in aliases {
            let names = alias.hostnames.clone().unwrap_or_default().join("\t");
            text.push_str(&format!("{}\t{names}\n", alias.ip));
        }
    }
    text
}

#[cfg(test)]
mod tests;
