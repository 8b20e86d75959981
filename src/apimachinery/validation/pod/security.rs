//! Security contexts of pods and containers.

use serde_json::Value;

use super::super::support::{list, one_if_given, text};
use super::windows;
use crate::field::{Error, ErrorList, Path};
use crate::names;

const PROFILES: &[&str] = &["Localhost", "RuntimeDefault", "Unconfined"];

/// Highest user and group id.
const MAX_ID: i64 = i32::MAX as i64;

fn id(v: &Value, path: &Path, errs: &mut ErrorList) {
    if let Some(n) = v.as_i64().filter(|n| !(0..=MAX_ID).contains(n)) {
        errs.push(Error::invalid(path, n, names::inclusive_range_error(0, MAX_ID)));
    }
}

pub(super) fn pod(spec: &Value, path: &Path, errs: &mut ErrorList) {
    let s = &spec["securityContext"];
    let path = path.child("securityContext");
    for f in ["fsGroup", "runAsUser", "runAsGroup"] {
        id(&s[f], &path.child(f), errs);
    }
    for (i, g) in list(&s["supplementalGroups"]).iter().enumerate() {
        id(g, &path.child("supplementalGroups").index(i), errs);
    }
    one_if_given(
        &s["supplementalGroupsPolicy"],
        &["Merge", "Strict"],
        &path.child("supplementalGroupsPolicy"),
        errs,
    );
    one_if_given(
        &s["fsGroupChangePolicy"],
        &["Always", "OnRootMismatch"],
        &path.child("fsGroupChangePolicy"),
        errs,
    );
    if spec["shareProcessNamespace"] == true && spec["hostPID"] == true {
        errs.push(Error::invalid(
            &path.child("shareProcessNamespace"),
            true,
            "ShareProcessNamespace and HostPID cannot both be enabled",
        ));
    }
    one_if_given(
        &s["seLinuxChangePolicy"],
        &["Recursive"],
        &path.child("seLinuxChangePolicy"),
        errs,
    );
    windows::options(&s["windowsOptions"], &path.child("windowsOptions"), errs);
    sysctls(s, &path.child("sysctls"), errs);
    seccomp(&s["seccompProfile"], &path.child("seccompProfile"), errs);
    app_armor(&s["appArmorProfile"], &path.child("appArmorProfile"), errs);
}

/// One part of a sysctl's name.
fn segment(s: &str) -> bool {
    let alnum = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = s.as_bytes();
    bytes.first().copied().is_some_and(alnum)
        && bytes.last().copied().is_some_and(alnum)
        && bytes.iter().all(|b| alnum(*b) || matches!(b, b'-' | b'_'))
}

fn sysctls(s: &Value, path: &Path, errs: &mut ErrorList) {
    let mut seen: Vec<&str> = vec![];
    for (i, c) in list(&s["sysctls"]).iter().enumerate() {
        let name = text(c, "name");
        let p = path.index(i).child("name");
        if name.is_empty() {
            errs.push(Error::required(&p, ""));
        } else if name.len() > 253 || !name.split(['.', '/']).all(segment) {
            errs.push(Error::invalid(
                &p,
                name,
                "must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$",
            ));
        } else if seen.contains(&name) {
            errs.push(Error::duplicate(&p, name));
        }
        seen.push(name);
    }
}

fn seccomp(p: &Value, path: &Path, errs: &mut ErrorList) {
    if !p.is_object() {
        return;
    }
    let (at, local) = (path.child("localhostProfile"), p["localhostProfile"].as_str());
    let kind = text(p, "type");
    if kind.is_empty() {
        let why = "type is required when seccompProfile is set";
        errs.push(Error::required(&path.child("type"), why));
    } else if !PROFILES.contains(&kind) {
        errs.push(Error::not_supported(&path.child("type"), kind, PROFILES));
    }
    match (kind, local) {
        ("Localhost", None) => {
            let why = "must be set when seccomp type is Localhost";
            errs.push(Error::required(&at, why));
        }
        ("Localhost", Some(local)) => super::volume::descending_path(local, &at, errs),
        (_, Some(_)) => errs.push(Error::invalid(
            &at,
            p.clone(),
            "can only be set when seccomp type is Localhost",
        )),
        (_, None) => {}
    }
}

fn app_armor(p: &Value, path: &Path, errs: &mut ErrorList) {
    if !p.is_object() {
        return;
    }
    match text(p, "type") {
        "" => errs.push(Error::required(
            &path.child("type"),
            "type is required when appArmorProfile is set",
        )),
        "Localhost" if text(p, "localhostProfile").is_empty() => errs.push(Error::required(
            &path.child("localhostProfile"),
            "must be set when AppArmor type is Localhost",
        )),
        "Localhost" => {
            let profile = text(p, "localhostProfile");
            if profile.trim() != profile {
                let why = "must not be padded with whitespace";
                errs.push(Error::invalid(&path.child("localhostProfile"), profile, why));
            }
        }
        "RuntimeDefault" | "Unconfined" => {
            if !text(p, "localhostProfile").is_empty() {
                errs.push(Error::invalid(
                    &path.child("localhostProfile"),
                    text(p, "localhostProfile"),
                    "can only be set when AppArmor type is Localhost",
                ));
            }
        }
        other => errs.push(Error::not_supported(
            &path.child("type"),
            other,
            &["Localhost", "RuntimeDefault", "Unconfined"],
        )),
    }
}

/// A container's context; `own_users`: users in its pod are not those of the host.
pub(super) fn container(s: &Value, own_users: bool, path: &Path, errs: &mut ErrorList) {
    if !s.is_object() {
        return;
    }
    for f in ["runAsUser", "runAsGroup"] {
        id(&s[f], &path.child(f), errs);
    }
    one_if_given(
        &s["procMount"],
        &["Default", "Unmasked"],
        &path.child("procMount"),
        errs,
    );
    if !own_users && s["procMount"] == "Unmasked" {
        errs.push(Error::invalid(
            &path.child("procMount"),
            "Unmasked",
            "`hostUsers` must be false to use `Unmasked`",
        ));
    }
    seccomp(&s["seccompProfile"], &path.child("seccompProfile"), errs);
    windows::options(&s["windowsOptions"], &path.child("windowsOptions"), errs);
    app_armor(&s["appArmorProfile"], &path.child("appArmorProfile"), errs);
    if s["allowPrivilegeEscalation"] == false {
        if s["privileged"] == true {
            errs.push(Error::invalid(
                path,
                s.clone(),
                "cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
            ));
        }
        if list(&s["capabilities"]["add"])
            .iter()
            .any(|c| c == "CAP_SYS_ADMIN")
        {
            errs.push(Error::invalid(
                path,
                s.clone(),
                "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN",
            ));
        }
    }
}
