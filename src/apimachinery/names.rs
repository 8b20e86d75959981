//! Checks of names, keys and values, with upstream's messages
//! (`k8s.io/apimachinery/pkg/util/validation`). Each returns the messages of
//! what is wrong: empty means valid.

use crate::field::{Error, ErrorList, Path};

const LABEL_FMT: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const LABEL_MSG: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character";
const SUBDOMAIN_FMT: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const SUBDOMAIN_MSG: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character";
const QNAME_FMT: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const QNAME_MSG: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";

/// Upstream's `RegexError`.
#[must_use]
pub fn regex_error(msg: &str, fmt: &str, examples: &[&str]) -> String {
    if examples.is_empty() {
        return format!("{msg} (regex used for validation is '{fmt}')");
    }
    let quoted: Vec<String> = examples.iter().map(|e| format!("'{e}', ")).collect();
    format!(
        "{msg} (e.g. {}regex used for validation is '{fmt}')",
        quoted.join(" or ")
    )
}

/// `must be no more than N characters`.
#[must_use]
pub fn max_len_error(n: usize) -> String {
    format!("must be no more than {n} characters")
}

/// `must be no more than N bytes`: what upstream says of label keys and values.
fn max_bytes_error(n: usize) -> String {
    format!("must be no more than {n} bytes")
}

/// `must be between LO and HI, inclusive`.
#[must_use]
pub fn inclusive_range_error(lo: i64, hi: i64) -> String {
    format!("must be between {lo} and {hi}, inclusive")
}

fn lower_alnum(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit()
}

fn matches_label(s: &str) -> bool {
    let b = s.as_bytes();
    !b.is_empty()
        && lower_alnum(b[0])
        && lower_alnum(b[b.len() - 1])
        && b.iter().all(|&c| lower_alnum(c) || c == b'-')
}

fn matches_subdomain(s: &str) -> bool {
    s.split('.').all(matches_label)
}

fn matches_qname(s: &str) -> bool {
    let b = s.as_bytes();
    !b.is_empty()
        && b[0].is_ascii_alphanumeric()
        && b[b.len() - 1].is_ascii_alphanumeric()
        && b.iter()
            .all(|&c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.'))
}

/// An RFC 1123 label of at most 63 characters.
#[must_use]
pub fn dns1123_label(s: &str) -> Vec<String> {
    let mut errs = vec![];
    if s.len() > 63 {
        errs.push(max_len_error(63));
    }
    if !matches_label(s) {
        if matches_subdomain(s) {
            errs.push("must not contain dots".into());
        } else {
            errs.push(regex_error(LABEL_MSG, LABEL_FMT, &["my-name", "123-abc"]));
        }
    }
    errs
}

/// An RFC 1123 subdomain of at most 253 characters.
#[must_use]
pub fn dns1123_subdomain(s: &str) -> Vec<String> {
    let mut errs = vec![];
    if s.len() > 253 {
        errs.push(max_len_error(253));
    }
    if !matches_subdomain(s) {
        errs.push(regex_error(SUBDOMAIN_MSG, SUBDOMAIN_FMT, &["example.com"]));
    }
    errs
}

/// [`dns1123_subdomain`] whose labels may have underscores, as a resolver's search paths do.
#[must_use]
pub fn dns1123_subdomain_with_underscores(s: &str) -> Vec<String> {
    let mut errs = vec![];
    if s.len() > 253 {
        errs.push(max_len_error(253));
    }
    let is_label = |label: &str| {
        let label = label.strip_prefix('_').unwrap_or(label);
        let ends = label.as_bytes().first().zip(label.as_bytes().last());
        ends.is_some_and(|(first, last)| *first != b'_' && *last != b'_')
            && matches_subdomain(&label.replace('_', "-"))
    };
    if !s.split('.').all(is_label) {
        let label = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?";
        errs.push(regex_error(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character",
            &format!("{label}(\\.{label})*"),
            &["example.com"],
        ));
    }
    errs
}

/// A condition's reason: letters and digits, `_`, `,` and `:`, a letter first and neither of the last two
/// at the end.
#[must_use]
pub fn condition_reason(s: &str) -> Vec<String> {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ',' | ':');
    let fits = s.starts_with(|c: char| c.is_ascii_alphabetic())
        && s.chars().all(inner)
        && s.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    if fits {
        return vec![];
    }
    vec![regex_error(
        "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric characters or '_,:', and must end with an alphanumeric character or '_'",
        "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?",
        &[
            "my_name",
            "MY_NAME",
            "MyName",
            "ReasonA,ReasonB",
            "ReasonA:ReasonB",
        ],
    )]
}

/// An RFC 1035 label of at most 63 characters.
#[must_use]
pub fn dns1035_label(s: &str) -> Vec<String> {
    let mut errs = vec![];
    if s.len() > 63 {
        errs.push(max_len_error(63));
    }
    if !(matches_label(s) && s.as_bytes()[0].is_ascii_lowercase()) {
        errs.push(regex_error(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character",
            "[a-z]([-a-z0-9]*[a-z0-9])?",
            &["my-name", "abc-123"],
        ));
    }
    errs
}

/// `*.` followed by an RFC 1123 subdomain.
#[must_use]
pub fn wildcard_dns1123_subdomain(s: &str) -> Vec<String> {
    let mut errs = vec![];
    if s.len() > 253 {
        errs.push(max_len_error(253));
    }
    if !s.strip_prefix("*.").is_some_and(matches_subdomain) {
        errs.push(regex_error(
            "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character",
            &format!("\\*\\.{SUBDOMAIN_FMT}"),
            &["*.example.com"],
        ));
    }
    errs
}

/// A fully qualified domain name of at least three labels, perhaps ending in
/// a dot.
#[must_use]
pub fn is_fully_qualified_name(s: &str) -> Vec<String> {
    if s.is_empty() {
        return vec!["must be non-empty".into()];
    }
    let errs = dns1123_subdomain(s);
    if errs.is_empty() && s.split('.').count() < 3 {
        return vec!["should be a domain with at least three segments separated by dots".into()];
    }
    errs
}

/// `[prefix/]name`: label and annotation keys, resource names, finalizers.
#[must_use]
pub fn qualified_name(s: &str) -> Vec<String> {
    let mut errs = vec![];
    let re = || regex_error(QNAME_MSG, QNAME_FMT, &["MyName", "my.name", "123-abc"]);
    let name = match s.split_once('/') {
        None => s,
        Some((_, rest)) if rest.contains('/') => {
            return vec![format!(
                "a valid label key {} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
                re()
            )];
        }
        Some((prefix, name)) => {
            if prefix.is_empty() {
                errs.push("prefix part must be non-empty".into());
            } else {
                errs.extend(dns1123_subdomain(prefix).into_iter().map(|m| {
                    format!(
                        "prefix part {}",
                        m.replace(&max_len_error(253), &max_bytes_error(253))
                    )
                }));
            }
            name
        }
    };
    if name.is_empty() {
        errs.push("name part must be non-empty".into());
    } else if name.len() > 63 {
        errs.push(format!("name part {}", max_bytes_error(63)));
    }
    if !matches_qname(name) {
        errs.push(format!("name part {}", re()));
    }
    errs
}

/// A label's value.
#[must_use]
pub fn label_value(s: &str) -> Vec<String> {
    let mut errs = vec![];
    if s.len() > 63 {
        errs.push(max_bytes_error(63));
    }
    if !(s.is_empty() || matches_qname(s)) {
        errs.push(regex_error(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
            &format!("({QNAME_FMT})?"),
            &["MyValue", "my_value", "12345"],
        ));
    }
    errs
}

/// A C identifier.
#[must_use]
pub fn c_identifier(s: &str) -> Vec<String> {
    let b = s.as_bytes();
    let ok =
        !b.is_empty() && !b[0].is_ascii_digit() && b.iter().all(|&c| c.is_ascii_alphanumeric() || c == b'_');
    if ok {
        return vec![];
    }
    vec![regex_error(
        "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_'",
        "[A-Za-z_][A-Za-z0-9_]*",
        &["my_name", "MY_NAME", "MyName"],
    )]
}

/// An environment variable's name (the relaxed rule, on since 1.32).
#[must_use]
pub fn env_var_name(s: &str) -> Vec<String> {
    const MSG: &str =
        "a valid environment variable name must consist only of printable ASCII characters other than '='";
    if s.is_empty() {
        return vec![format!("environment variable name {}", "must be non-empty")];
    }
    if s.bytes().any(|b| !(0x20..0x7f).contains(&b) || b == b'=') {
        return vec![MSG.into()];
    }
    vec![]
}

/// A key of a ConfigMap or Secret.
#[must_use]
pub fn config_map_key(s: &str) -> Vec<String> {
    let mut errs = vec![];
    if s.len() > 253 {
        errs.push(max_len_error(253));
    }
    if s.is_empty()
        || !s
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.'))
    {
        errs.push(regex_error(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
            "[-._a-zA-Z0-9]+",
            &["key.name", "KEY_NAME", "key-name"],
        ));
    }
    errs.extend(no_parent_prefix(s));
    errs
}

fn no_parent_prefix(s: &str) -> Option<String> {
    match s {
        "." => Some("must not be '.'".into()),
        ".." => Some("must not be '..'".into()),
        s if s.starts_with("..") => Some("must not start with '..'".into()),
        _ => None,
    }
}

/// A port number, 1 to 65535.
#[must_use]
pub fn port_num(n: i64) -> Vec<String> {
    if (1..=65535).contains(&n) {
        vec![]
    } else {
        vec![inclusive_range_error(1, 65535)]
    }
}

/// An IANA service name.
#[must_use]
pub fn port_name(s: &str) -> Vec<String> {
    let mut errs = vec![];
    if s.len() > 15 {
        errs.push(max_len_error(15));
    }
    if s.is_empty() || !s.bytes().all(|c| lower_alnum(c) || c == b'-') {
        errs.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".into());
    }
    if !s.bytes().any(|c| c.is_ascii_lowercase()) {
        errs.push("must contain at least one letter (a-z)".into());
    }
    if s.contains("--") {
        errs.push("must not contain consecutive hyphens".into());
    }
    if s.starts_with('-') || s.ends_with('-') {
        errs.push("must not begin or end with a hyphen".into());
    }
    errs
}

/// An IPv4 or IPv6 address.
#[must_use]
pub fn ip(s: &str) -> Vec<String> {
    if s.parse::<std::net::IpAddr>().is_ok() {
        vec![]
    } else {
        vec!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".into()]
    }
}

/// An address with a prefix length.
#[must_use]
pub fn cidr(s: &str) -> Vec<String> {
    if s.parse::<ipnet::IpNet>().is_ok() {
        vec![]
    } else {
        vec!["must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)".into()]
    }
}

/// `domain/path`: `acme.io/foo`.
#[must_use]
pub fn domain_prefixed_path(path: &Path, s: &str) -> ErrorList {
    let mut errs = ErrorList::new();
    if s.is_empty() {
        errs.push(Error::required(path, ""));
        return errs;
    }
    let Some((domain, rest)) = s.split_once('/').filter(|(a, b)| !a.is_empty() && !b.is_empty()) else {
        let why = "must be a domain-prefixed path (such as \"acme.io/foo\")";
        errs.push(Error::invalid(path, s, why));
        return errs;
    };
    errs.invalid_each(path, domain, dns1123_subdomain(domain));
    let fmt = "[a-zA-Z0-9]([a-zA-Z0-9-._~!$&'()*+,;=:/])*";
    let plain = |c: u8| c.is_ascii_alphanumeric() || b"/%:@-._~!$&'()*+,;=".contains(&c);
    if !rest.bytes().all(plain) {
        errs.push(Error::invalid(
            path,
            rest,
            format!("Invalid path (regex used for validation is '{fmt}')"),
        ));
    }
    errs
}

/// `N%`.
#[must_use]
pub fn percent(s: &str) -> Vec<String> {
    match s.strip_suffix('%') {
        Some(n) if !n.is_empty() && n.bytes().all(|c| c.is_ascii_digit()) => vec![],
        _ => vec![regex_error(
            "a valid percent string must be a numeric string followed by an ending '%'",
            "[0-9]+%",
            &["1%", "93%"],
        )],
    }
}

/// An HTTP header's name.
#[must_use]
pub fn http_header_name(s: &str) -> Vec<String> {
    if !s.is_empty() && s.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-') {
        return vec![];
    }
    vec![regex_error(
        "a valid HTTP header must consist of alphanumeric characters or '-'",
        "[-A-Za-z0-9]+",
        &["X-Header-Name"],
    )]
}

/// A name that can be one segment of a path (RBAC objects).
#[must_use]
pub fn path_segment(s: &str) -> Vec<String> {
    match s {
        "." | ".." => return vec![format!("may not be '{s}'")],
        _ => {}
    }
    ["/", "%"]
        .iter()
        .filter(|c| s.contains(**c))
        .map(|c| format!("may not contain '{c}'"))
        .collect()
}

/// Labels of Kubernetes' own domains that a kubelet may set on its node.
const KUBELET_LABELS: [&str; 12] = [
    "kubernetes.io/hostname",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "node.kubernetes.io/instance-type",
    "beta.kubernetes.io/instance-type",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
    "node.kubernetes.io/windows-build",
];

/// Whether a kubelet may set this label on its own Node: not those by which work is kept away from
/// nodes or drawn to them (KEP-279).
#[must_use]
pub fn is_kubelets_label(key: &str) -> bool {
    let domain = key.split_once('/').map_or("", |(domain, _)| domain);
    let within = |of: &str| {
        domain
            .strip_suffix(of)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    if within("node-restriction.kubernetes.io") {
        return false;
    }
    let kubelets =
        KUBELET_LABELS.contains(&key) || within("kubelet.kubernetes.io") || within("node.kubernetes.io");
    kubelets || !(within("kubernetes.io") || within("k8s.io"))
}

/// Whether a resource's name (`cpu`, `example.com/gpu`) is Kubernetes' own: without a domain, or in its domain.
pub fn is_native_resource(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

#[cfg(test)]
mod tests;
