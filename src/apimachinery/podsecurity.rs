//! The pod security standards: what a level, as of a version, forbids a pod.
//! <https://kubernetes.io/docs/concepts/security/pod-security-standards/>; upstream:
//! `k8s.io/pod-security-admission/policy`.
//!
//! ```text
//! let (policy, errors) = Policy::of(namespace_labels, &Policy::default());
//! let found = podsecurity::evaluate(policy.enforce, &annotations, &pod_spec);
//! found.detail()   -> host namespaces (hostNetwork=true), privileged (container "c" must not set …)
//! ```

mod baseline;
mod restricted;

use std::{collections::BTreeSet, fmt};

use serde_json::{Map, Value};

use crate::field::{Error, ErrorList, Path, quote};

/// How much a pod may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    #[default]
    Privileged,
    Baseline,
    Restricted,
}

impl Level {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "privileged" => Level::Privileged,
            "baseline" => Level::Baseline,
            "restricted" => Level::Restricted,
            _ => return None,
        })
    }
}

/// A level as a Kubernetes version defined it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LevelVersion {
    pub level: Level,
    /// Minor version; `None` for the newest.
    pub minor: Option<u32>,
}

impl LevelVersion {
    /// Whether the standard is that of version 1.`minor` or newer.
    fn since(self, minor: u32) -> bool {
        self.minor.is_none_or(|own| own >= minor)
    }
}

impl fmt::Display for LevelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.level {
            Level::Privileged => "privileged",
            Level::Baseline => "baseline",
            Level::Restricted => "restricted",
        })?;
        match self.minor {
            Some(minor) => write!(f, ":v1.{minor}"),
            None => f.write_str(":latest"),
        }
    }
}

/// What a namespace asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Pods that violate it are refused.
    pub enforce: LevelVersion,
    /// Violations are noted in the audit log.
    pub audit: LevelVersion,
    /// Violations are told to the client.
    pub warn: LevelVersion,
}

const PREFIX: &str = "pod-security.kubernetes.io/";

fn minor_of(text: &str) -> Option<Option<u32>> {
    if text == "latest" {
        return Some(None);
    }
    let digits = text.strip_prefix("v1.")?;
    let plain = digits.bytes().all(|b| b.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    plain.then(|| digits.parse().ok().map(Some)).flatten()
}

impl Policy {
    /// Of a namespace's labels, and of `defaults` what they do not say. What cannot be read enforces
    /// `restricted` and warns of nothing.
    #[must_use]
    pub fn of(labels: Option<&Map<String, Value>>, defaults: &Policy) -> (Policy, ErrorList) {
        let label = |key: &str| labels?.get(&format!("{PREFIX}{key}"))?.as_str();
        let mut errors = ErrorList::new();
        let path = Path::new("metadata").child("labels");
        let mut read = |mode: &str, mut out: LevelVersion, fallback: Level| {
            if let Some(text) = label(mode) {
                out.level = Level::parse(text).unwrap_or_else(|| {
                    let detail = "must be one of privileged, baseline, restricted";
                    errors.push(Error::invalid(
                        &path.key(&format!("{PREFIX}{mode}")),
                        text,
                        detail,
                    ));
                    fallback
                });
            }
            let key = format!("{mode}-version");
            if let Some(text) = label(&key) {
                out.minor = minor_of(text).unwrap_or_else(|| {
                    let detail = "must be \"latest\" or \"v1.x\"";
                    errors.push(Error::invalid(&path.key(&format!("{PREFIX}{key}")), text, detail));
                    None
                });
            }
            out
        };
        let enforce = read("enforce", defaults.enforce, Level::Restricted);
        let audit = read("audit", defaults.audit, Level::Privileged);
        let mut warn = read("warn", defaults.warn, Level::Privileged);
        // Who enforces more than it warns of wants to be warned of what will be refused.
        if label("enforce").is_some() && label("warn").is_none() && enforce.level > warn.level {
            warn.level = enforce.level;
            if label("warn-version").is_none() {
                warn.minor = enforce.minor;
            }
        }
        (Policy { enforce, audit, warn }, errors)
    }

    /// Of the `defaults` of a `PodSecurityConfiguration`: a level and a version for each mode.
    ///
    /// # Errors
    /// What is no level or version, and fields that are unknown.
    pub fn configured(defaults: &Map<String, Value>) -> Result<Policy, ErrorList> {
        let mut policy = Policy::default();
        let mut errors = ErrorList::new();
        let path = Path::new("defaults");
        for (key, value) in defaults {
            let text = value.as_str().unwrap_or_default();
            let (mode, version) = match key.strip_suffix("-version") {
                Some(mode) => (mode, true),
                None => (key.as_str(), false),
            };
            let own = match mode {
                "enforce" => &mut policy.enforce,
                "audit" => &mut policy.audit,
                "warn" => &mut policy.warn,
                _ => {
                    errors.push(Error::not_supported(
                        &path,
                        key.as_str(),
                        &["enforce", "audit", "warn"],
                    ));
                    continue;
                }
            };
            let (read, detail) = if version {
                let read = minor_of(text).map(|minor| own.minor = minor);
                (read, "must be \"latest\" or \"v1.x\"")
            } else {
                let read = Level::parse(text).map(|level| own.level = level);
                (read, "must be one of privileged, baseline, restricted")
            };
            if read.is_none() {
                errors.push(Error::invalid(&path.child(key), text, detail));
            }
        }
        if errors.is_empty() {
            Ok(policy)
        } else {
            Err(errors)
        }
    }

    /// Whether nothing is forbidden, noted or warned of.
    #[must_use]
    pub fn is_privileged(&self) -> bool {
        [self.enforce, self.audit, self.warn]
            .iter()
            .all(|lv| lv.level == Level::Privileged)
    }
}

/// One thing that a pod may not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// A few words, `host namespaces`.
    pub reason: String,
    /// Who does it how, `hostNetwork=true`.
    pub detail: String,
}

/// Everything that a pod may not do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Violations(pub Vec<Violation>);

impl Violations {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The reasons, in a row.
    #[must_use]
    pub fn reason(&self) -> String {
        let all: Vec<&str> = self.0.iter().map(|v| v.reason.as_str()).collect();
        all.join(", ")
    }

    /// The reasons with their details, in a row.
    #[must_use]
    pub fn detail(&self) -> String {
        let all = self.0.iter().map(|v| {
            if v.detail.is_empty() {
                v.reason.clone()
            } else {
                format!("{} ({})", v.reason, v.detail)
            }
        });
        all.collect::<Vec<_>>().join(", ")
    }
}

/// Judges a pod by its metadata's annotations and its spec.
#[must_use]
pub fn evaluate(level: LevelVersion, annotations: Option<&Map<String, Value>>, spec: &Value) -> Violations {
    if level.level == Level::Privileged {
        return Violations::default();
    }
    let pod = Pod {
        annotations,
        spec,
        level,
    };
    let mut found = baseline::check(&pod);
    if level.level == Level::Restricted {
        found.extend(restricted::check(&pod));
    }
    Violations(found)
}

/// What the checks look at.
struct Pod<'a> {
    annotations: Option<&'a Map<String, Value>>,
    spec: &'a Value,
    level: LevelVersion,
}

impl<'a> Pod<'a> {
    /// Containers of every sort, those that run first first.
    fn containers(&self) -> impl Iterator<Item = &'a Value> {
        let spec = self.spec;
        ["initContainers", "containers", "ephemeralContainers"]
            .into_iter()
            .flat_map(move |list| spec[list].as_array().into_iter().flatten())
    }

    /// Names of the containers that do something.
    fn who(&self, does: impl Fn(&Value) -> bool) -> Vec<&'a str> {
        self.containers()
            .filter(|container| does(container))
            .map(|container| container["name"].as_str().unwrap_or_default())
            .collect()
    }

    /// A field of the pod's security context.
    fn context(&self, field: &str) -> &'a Value {
        &self.spec["securityContext"][field]
    }

    fn is_windows(&self) -> bool {
        self.spec["os"]["name"] == "windows"
    }

    /// In a user namespace of its own: root inside is nobody outside (KEP-127).
    fn is_user_namespaced(&self) -> bool {
        self.spec["hostUsers"] == false
    }

    /// `pod and containers "a", "b"`: who sets a bad value, if anybody does.
    fn setters(&self, pod: bool, containers: &[&str]) -> Option<String> {
        let mut all = Vec::new();
        if pod {
            all.push("pod".to_owned());
        }
        if !containers.is_empty() {
            all.push(named(containers));
        }
        (!all.is_empty()).then(|| all.join(" and "))
    }
}

fn violation(reason: &str, detail: String) -> Violation {
    Violation {
        reason: reason.to_owned(),
        detail,
    }
}

fn plural<'a>(one: &'a str, many: &'a str, count: usize) -> &'a str {
    if count == 1 { one } else { many }
}

/// `container "a"` or `containers "a", "b"`.
fn named(containers: &[&str]) -> String {
    let word = plural("container", "containers", containers.len());
    format!("{word} {}", quoted(containers))
}

fn quoted<T: AsRef<str>>(items: &[T]) -> String {
    let all: Vec<String> = items
        .iter()
        .map(|item| format!("\"{}\"", item.as_ref()))
        .collect();
    all.join(", ")
}

fn sorted(items: BTreeSet<&str>) -> Vec<&str> {
    items.into_iter().collect()
}

fn go_quoted(text: &str) -> String {
    quote(text)
}

/// A container's field of its security context.
fn own<'a>(container: &'a Value, field: &str) -> &'a Value {
    &container["securityContext"][field]
}

#[cfg(test)]
mod tests;
