//! `MatchResources`: whether a policy or a binding is meant.
//! Upstream: `k8s.io/apiserver/pkg/admission/plugin/policy/matching`.

use rkind_apimachinery::selector::LabelSelector;
use serde_json::Value;

use super::super::{
    Request,
    webhooks::{
        Rule,
        matching::{self, selector},
    },
};
use crate::{catalog::Def, machinery::strings};

/// A rule, and the names it is for; none: all.
struct Named {
    rule: Rule,
    names: Vec<String>,
}

/// A `MatchResources`.
pub(super) struct Matcher {
    rules: Vec<Named>,
    excluded: Vec<Named>,
    namespaces: Result<LabelSelector, String>,
    objects: Result<LabelSelector, String>,
    equivalent: bool,
}

fn rules(value: &Value) -> Vec<Named> {
    let all = value.as_array().into_iter().flatten();
    all.map(|rule| Named {
        rule: Rule {
            operations: strings(&rule["operations"]),
            groups: strings(&rule["apiGroups"]),
            versions: strings(&rule["apiVersions"]),
            resources: strings(&rule["resources"]),
            scope: rule["scope"].as_str().unwrap_or("*").to_owned(),
        },
        names: strings(&rule["resourceNames"]),
    })
    .collect()
}

impl Matcher {
    /// Of `spec.matchConstraints` or `spec.matchResources`; null matches everything.
    pub(super) fn read(resources: &Value) -> Matcher {
        Matcher {
            rules: rules(&resources["resourceRules"]),
            excluded: rules(&resources["excludeResourceRules"]),
            namespaces: selector(&resources["namespaceSelector"]),
            objects: selector(&resources["objectSelector"]),
            equivalent: resources["matchPolicy"] != "Exact",
        }
    }

    /// The resource (the request's, or an equivalent version of it) by which this is meant.
    ///
    /// # Errors
    /// Why it cannot be told.
    pub(super) fn meant(&self, request: &Request<'_>) -> Result<Option<Def>, String> {
        let is_namespace = request.def.group.is_empty() && request.def.resource == "namespaces";
        if !request.scope().is_empty() || is_namespace {
            let selector = self.namespaces.as_ref().map_err(Clone::clone)?;
            if !matching::namespace_matches(selector, request).map_err(|e| e.message)? {
                return Ok(None);
            }
        }
        let selector = self.objects.as_ref().map_err(Clone::clone)?;
        if !matching::object_matches(selector, request) {
            return Ok(None);
        }
        if self.find(&self.excluded, request).is_some() {
            return Ok(None);
        }
        if self.rules.is_empty() {
            return Ok(Some(request.def.clone()));
        }
        Ok(self.find(&self.rules, request))
    }

    fn find(&self, rules: &[Named], request: &Request<'_>) -> Option<Def> {
        let meant = |named: &Named, def: &Def| {
            (named.names.is_empty() || named.names.iter().any(|name| name == request.name))
                && matching::matches(&named.rule, request, def)
        };
        matching::found(rules, self.equivalent, request, meant)
    }
}
