//! What containers are on Windows: users, credentials, processes of the host (KEP-1981).

use serde_json::Value;

use super::super::support::list;
use crate::field::{Error, ErrorList, Path};
use crate::names;

/// Longest credential specification, in bytes.
const MAX_CREDENTIALS: usize = 64 * 1024;
/// Longest domain and name of a user, in bytes.
const MAX_DOMAIN: usize = 255;
const MAX_USER: usize = 104;

/// `windowsOptions` of a pod or a container.
pub(super) fn options(o: &Value, path: &Path, errs: &mut ErrorList) {
    if let Some(name) = o["gmsaCredentialSpecName"].as_str() {
        errs.invalid_each(
            &path.child("gmsaCredentialSpecName"),
            name,
            names::dns1123_subdomain(name),
        );
    }
    if let Some(credentials) = o["gmsaCredentialSpec"].as_str() {
        let at = path.child("gmsaCredentialSpec");
        if credentials.is_empty() {
            let why = "gmsaCredentialSpec cannot be an empty string";
            errs.push(Error::invalid(&at, credentials, why));
        } else if credentials.len() > MAX_CREDENTIALS {
            let why = "gmsaCredentialSpec size must be under 64 KiB";
            errs.push(Error::invalid(&at, credentials, why));
        }
    }
    if let Some(name) = o["runAsUserName"].as_str() {
        for why in user_faults(name) {
            errs.push(Error::invalid(&path.child("runAsUserName"), name, why));
        }
    }
}

/// What is wrong with `[DOMAIN\]USER`.
fn user_faults(name: &str) -> Vec<&'static str> {
    if name.is_empty() {
        return vec!["runAsUserName cannot be an empty string"];
    }
    if name.chars().any(|c| c.is_ascii_control()) {
        return vec!["runAsUserName cannot contain control characters"];
    }
    let (domain, user) = match name.split_once('\\') {
        Some((_, rest)) if rest.contains('\\') => {
            return vec!["runAsUserName cannot contain more than one backslash"];
        }
        Some((domain, user)) => (Some(domain), user),
        None => (None, name),
    };
    let faults = [
        (
            domain.is_some_and(|domain| domain.len() > MAX_DOMAIN),
            "runAsUserName's Domain length must be under 256 characters",
        ),
        (
            domain.is_some_and(|domain| !is_netbios(domain) && !is_dns(domain)),
            "runAsUserName's Domain doesn't match the NetBios nor the DNS format",
        ),
        (user.is_empty(), "runAsUserName's User cannot be empty"),
        (
            user.len() > MAX_USER,
            "runAsUserName's User length must not be longer than 104 characters",
        ),
        (
            !user.is_empty() && user.chars().all(|c| matches!(c, '.' | ' ')),
            "runAsUserName's User cannot contain only periods or spaces",
        ),
        (
            user.contains([
                '"', '/', '\\', ':', ';', '|', '=', ',', '+', '*', '?', '<', '>', '@', '[', ']',
            ]),
            r#"runAsUserName's User cannot contain the following characters: "/\:;|=,+*?<>@[]"#,
        ),
    ];
    faults
        .into_iter()
        .filter_map(|(wrong, why)| wrong.then_some(why))
        .collect()
}

fn is_netbios(domain: &str) -> bool {
    (1..=15).contains(&domain.chars().count())
        && !domain.starts_with('.')
        && !domain.contains(['\\', '/', ':', '*', '?', '"', '<', '>', '|'])
}

fn is_dns(domain: &str) -> bool {
    domain
        .split('.')
        .all(|label| names::dns1123_label(&label.to_lowercase()).is_empty())
}

/// Processes of the host: none of a pod's containers, or all, on the host's network.
pub(super) fn host_processes(spec: &Value, path: &Path, errs: &mut ErrorList) {
    let asked = |of: &Value| of["securityContext"]["windowsOptions"]["hostProcess"].as_bool();
    let of_pod = asked(spec);
    let (mut all, mut hosts) = (0, 0);
    for lists in ["initContainers", "containers", "ephemeralContainers"] {
        for (i, c) in list(&spec[lists]).iter().enumerate() {
            all += 1;
            let own = asked(c);
            if let (Some(of_pod), Some(own)) = (of_pod, own)
                && of_pod != own
            {
                let at = path.child(lists).index(i).child("securityContext");
                errs.push(Error::invalid(
                    &at.child("windowsOptions").child("hostProcess"),
                    own,
                    format!("pod hostProcess value must be identical if both are specified, was {of_pod}"),
                ));
            }
            hosts += usize::from(own.or(of_pod) == Some(true));
        }
    }
    if hosts == 0 {
        return;
    }
    if hosts != all {
        errs.push(Error::invalid(
            path,
            "",
            "If pod contains any hostProcess containers then all containers must be HostProcess containers",
        ));
    }
    if spec["hostNetwork"] != true {
        errs.push(Error::invalid(
            &path.child("hostNetwork"),
            false,
            "hostNetwork must be true if pod contains any hostProcess containers",
        ));
    }
}
