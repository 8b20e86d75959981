//! Names of what containers ask for and quotas count.

use crate::field::{Error, ErrorList, Path};
use crate::names::{self, is_native_resource as is_native};

/// What has a name without a domain, besides huge pages.
const STANDARD: &[&str] = &[
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "storage",
    "requests.storage",
    "services.nodeports",
    "services.loadbalancers",
];
/// What is counted in whole numbers.
const WHOLE: &[&str] = &[
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];

fn is_huge_page(name: &str) -> bool {
    name.starts_with("hugepages-") || name.starts_with("requests.hugepages-")
}

/// Whether quotas know it without a domain.
pub(super) fn is_for_quotas(name: &str) -> bool {
    (STANDARD.contains(&name) && name != "storage") || is_huge_page(name)
}

fn is_extended(name: &str) -> bool {
    !is_native(name)
        && !name.starts_with("requests.")
        && names::qualified_name(&format!("requests.{name}")).is_empty()
}

/// Whether it is counted in whole numbers.
pub(super) fn is_whole(name: &str) -> bool {
    WHOLE.contains(&name) || is_extended(name)
}

/// Whether more of it may be promised than there is.
pub(super) fn may_overcommit(name: &str) -> bool {
    is_native(name) && !name.starts_with("hugepages-")
}

/// Checks the name of a resource of any kind.
pub(super) fn any(name: &str, path: &Path, errs: &mut ErrorList) {
    let faults = names::qualified_name(name);
    if faults.is_empty() && !name.contains('/') && !STANDARD.contains(&name) && !is_huge_page(name) {
        let detail = "must be a standard resource type or fully qualified";
        errs.push(Error::invalid(path, name, detail));
    }
    errs.invalid_each(path, name, faults);
}

/// Checks the name of what a container asks for.
pub(super) fn of_container(name: &str, path: &Path, errs: &mut ErrorList) {
    any(name, path, errs);
    let standard = matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-");
    if !name.contains('/') {
        if !standard {
            let detail = "must be a standard resource for containers";
            errs.push(Error::invalid(path, name, detail));
        }
    } else if !is_native(name) && !is_extended(name) {
        let detail = "doesn't follow extended resource name standard";
        errs.push(Error::invalid(path, name, detail));
    }
}

/// Checks the name of what a pod as a whole asks for.
pub(super) fn of_pod(name: &str, path: &Path, errs: &mut ErrorList) {
    let before = errs.len();
    any(name, path, errs);
    if errs.len() == before && !matches!(name, "cpu" | "memory") && !name.starts_with("hugepages-") {
        errs.push(Error::not_supported(path, name, &["cpu", "hugepages-", "memory"]));
    }
}

/// Checks the name of what a quota counts.
pub(super) fn of_quota(name: &str, path: &Path, errs: &mut ErrorList) {
    any(name, path, errs);
    if !name.contains('/') && !is_for_quotas(name) {
        errs.push(Error::invalid(
            path,
            name,
            "must be a standard resource for quota",
        ));
    }
}
