//! `audit.k8s.io/v1 Policy`. Upstream: `k8s.io/apiserver/pkg/audit/policy`.

use serde::Deserialize;

use crate::{config_file::Kind, request::RequestInfo, user::UserInfo};

const KIND: Kind = Kind {
    name: "Policy",
    group: "audit.k8s.io",
    versions: &["v1"],
};

/// How much of a request is written down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(crate) enum Level {
    #[default]
    None,
    Metadata,
    Request,
    RequestResponse,
}

impl Level {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Level::None => "None",
            Level::Metadata => "Metadata",
            Level::Request => "Request",
            Level::RequestResponse => "RequestResponse",
        }
    }
}

/// When it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) enum Stage {
    RequestReceived,
    ResponseStarted,
    ResponseComplete,
    Panic,
}

impl Stage {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Stage::RequestReceived => "RequestReceived",
            Stage::ResponseStarted => "ResponseStarted",
            Stage::ResponseComplete => "ResponseComplete",
            Stage::Panic => "Panic",
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Rule {
    level: Option<Level>,
    users: Vec<String>,
    user_groups: Vec<String>,
    verbs: Vec<String>,
    resources: Vec<GroupResources>,
    namespaces: Vec<String>,
    #[serde(rename = "nonResourceURLs")]
    non_resource_urls: Vec<String>,
    omit_stages: Vec<Stage>,
    omit_managed_fields: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct GroupResources {
    group: String,
    resources: Vec<String>,
    resource_names: Vec<String>,
}

/// A policy, checked.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Policy {
    rules: Vec<Rule>,
    omit_stages: Vec<Stage>,
    omit_managed_fields: bool,
}

impl Policy {
    /// Reads a policy.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Policy, String> {
        let policy: Policy = KIND.read(text)?;
        if policy.rules.is_empty() {
            return Err("loaded illegal policy with 0 rules".into());
        }
        for (at, rule) in policy.rules.iter().enumerate() {
            let paths = &rule.non_resource_urls;
            if rule.level.is_none() {
                return Err(format!("rules[{at}].level: Required value"));
            }
            let about_resources = !rule.resources.is_empty() || !rule.namespaces.is_empty();
            if !paths.is_empty() && about_resources {
                return Err(format!(
                    "rules[{at}].nonResourceURLs: Invalid value: {paths:?}: rules cannot apply to both regular resources and non-resource URLs"
                ));
            }
            for group in &rule.resources {
                if group.group.contains('/') {
                    return Err(format!(
                        "rules[{at}].resources.group: Invalid value: {:?}: must not include the version",
                        group.group
                    ));
                }
                if group.resources.is_empty() && !group.resource_names.is_empty() {
                    return Err(format!(
                        "rules[{at}].resources.resourceNames: Invalid value: {:?}: using resourceNames requires at least one resource",
                        group.resource_names
                    ));
                }
            }
        }
        Ok(policy)
    }

    /// Level, omitted stages and whether managed fields are left out: by the first rule that fits.
    pub(super) fn judge(&self, user: &UserInfo, info: &RequestInfo) -> (Level, Vec<Stage>, bool) {
        let Some(rule) = self.rules.iter().find(|rule| rule.fits(user, info)) else {
            return (Level::None, self.omit_stages.clone(), self.omit_managed_fields);
        };
        let omit = self
            .omit_stages
            .iter()
            .chain(&rule.omit_stages)
            .copied()
            .collect();
        (
            rule.level.unwrap_or_default(),
            omit,
            rule.omit_managed_fields.unwrap_or(self.omit_managed_fields),
        )
    }
}

impl Rule {
    fn fits(&self, user: &UserInfo, info: &RequestInfo) -> bool {
        if !self.users.is_empty() && !self.users.contains(&user.name) {
            return false;
        }
        if !self.user_groups.is_empty() && !self.user_groups.iter().any(|g| user.in_group(g)) {
            return false;
        }
        if !self.verbs.is_empty() && !self.verbs.contains(&info.verb) {
            return false;
        }
        if !self.namespaces.is_empty() || !self.resources.is_empty() {
            return info.is_resource && self.fits_resource(info);
        }
        if !self.non_resource_urls.is_empty() {
            let matches = |spec: &String| match spec.strip_suffix('*') {
                Some(prefix) => info.path.starts_with(prefix),
                None => *spec == info.path,
            };
            return !info.is_resource && self.non_resource_urls.iter().any(matches);
        }
        true
    }

    fn fits_resource(&self, info: &RequestInfo) -> bool {
        if !self.namespaces.is_empty() && !self.namespaces.contains(&info.namespace) {
            return false;
        }
        if self.resources.is_empty() {
            return true;
        }
        let (resource, sub) = (info.resource.as_str(), info.subresource.as_str());
        self.resources
            .iter()
            .filter(|g| g.group == info.group)
            .any(|group| {
                let named = group.resource_names.is_empty() || group.resource_names.contains(&info.name);
                group.resources.is_empty()
                    || named
                        && group.resources.iter().any(|wanted| match wanted.split_once('/') {
                            None => wanted == "*" || (sub.is_empty() && wanted == resource),
                            Some(("*", wanted)) => !sub.is_empty() && wanted == sub,
                            Some((wanted, "*")) => wanted == resource,
                            Some((a, b)) => a == resource && b == sub,
                        })
            })
    }
}
