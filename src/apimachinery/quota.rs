//! Resource quotas: what an object uses, which quotas it falls under, and whether it still fits.
//! Pure; admission and the quota controller count by the same rules.
//! Upstream: `k8s.io/apiserver/pkg/quota/v1`, `pkg/quota/v1/evaluator/core`.
//!
//! ```text
//! let evaluator = Evaluator::of("", "pods");
//! evaluator.usage(&pod, now)             -> {"count/pods": 1, "requests.cpu": 100m, …}
//! evaluator.matches(&quota, &pod)        -> does the quota count it
//! evaluator.check(&quota, &charge)       -> the new `status.used`, or why it does not fit
//! evaluator.total(&quota, objects, now)  -> `status.used` recalculated for what it tracks
//! ```

mod claims;
mod pods;
mod scopes;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::quantity::{Format, Quantity};

/// Amounts by resource name.
pub type Amounts = BTreeMap<String, Quantity>;

/// How the objects of one resource are counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evaluator {
    kind: Kind,
    /// `count/<resource>[.<group>]`.
    count: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Pods,
    Services,
    Claims,
    DeviceClaims,
    /// By number only; with the name that was used before `count/` came.
    Count(Option<&'static str>),
}

/// Resources that no quota counts: what is not stored, and events.
#[must_use]
pub fn is_ignored(group: &str, resource: &str) -> bool {
    matches!(
        (group, resource),
        ("", "bindings" | "componentstatuses" | "events")
            | ("events.k8s.io", "events")
            | ("authentication.k8s.io" | "authorization.k8s.io", _)
            | (
                "metrics.k8s.io" | "custom.metrics.k8s.io" | "external.metrics.k8s.io",
                _
            )
    )
}

fn one() -> Quantity {
    Quantity::from_units(1, Format::DecimalSi)
}

fn units(n: usize) -> Quantity {
    Quantity::from_units(i64::try_from(n).unwrap_or(i64::MAX), Format::DecimalSi)
}

/// Reads a map of resource names to quantities; what is no quantity is left out.
#[must_use]
pub fn amounts(list: &Value) -> Amounts {
    let entries = list.as_object().into_iter().flatten();
    entries
        .filter_map(|(name, value)| Some((name.clone(), Quantity::from_value(value).ok()?)))
        .collect()
}

/// The wire form of amounts.
#[must_use]
pub fn to_value(amounts: &Amounts) -> Value {
    let entries = amounts
        .iter()
        .map(|(name, amount)| (name.clone(), Value::String(amount.to_string())));
    Value::Object(entries.collect::<Map<_, _>>())
}

fn add(into: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        *into.entry(name.clone()).or_insert(Quantity::ZERO) += *amount;
    }
}

fn shown<'a>(of: &Amounts, names: impl Iterator<Item = &'a String>) -> String {
    let parts: Vec<String> = names
        .filter_map(|name| Some(format!("{name}={}", of.get(name)?)))
        .collect();
    parts.join(",")
}

/// What a pod's containers take at most at once; `part` is `requests` or `limits`. Overhead is not in it.
#[must_use]
pub fn pod_total(pod: &Value, part: &str) -> Amounts {
    pods::sum(pod, part)
}

/// One write as the quotas of its namespace see it.
#[derive(Clone, Debug)]
pub struct Charge {
    pub object: Value,
    /// The stored object that it replaces.
    pub old: Option<Value>,
    /// What changes in status is counted but never refused.
    pub status: bool,
    pub usage: Amounts,
    old_usage: Option<Amounts>,
}

impl Evaluator {
    /// Of a resource, built-in or custom.
    #[must_use]
    pub fn of(group: &str, resource: &str) -> Self {
        let kind = match (group, resource) {
            ("", "pods") => Kind::Pods,
            ("", "services") => Kind::Services,
            ("", "persistentvolumeclaims") => Kind::Claims,
            ("resource.k8s.io", "resourceclaims") => Kind::DeviceClaims,
            ("", "configmaps") => Kind::Count(Some("configmaps")),
            ("", "resourcequotas") => Kind::Count(Some("resourcequotas")),
            ("", "replicationcontrollers") => Kind::Count(Some("replicationcontrollers")),
            ("", "secrets") => Kind::Count(Some("secrets")),
            _ => Kind::Count(None),
        };
        let count = if group.is_empty() {
            format!("count/{resource}")
        } else {
            format!("count/{resource}.{group}")
        };
        Evaluator { kind, count }
    }

    /// Whether a write can change what is used. `verb` is `CREATE` or `UPDATE`.
    #[must_use]
    pub fn handles(&self, verb: &str, subresource: &str, new: &Value, old: Option<&Value>) -> bool {
        match (self.kind, subresource) {
            (Kind::Pods, "") => verb == "CREATE",
            (Kind::Pods, "resize") => verb == "UPDATE",
            (Kind::Services | Kind::Claims | Kind::DeviceClaims, "") => matches!(verb, "CREATE" | "UPDATE"),
            (Kind::Claims, "status") => old.is_some_and(|old| claims::changes_use(new, old)),
            (Kind::Count(_), "") => verb == "CREATE",
            _ => false,
        }
    }

    /// What an object uses.
    #[must_use]
    pub fn usage(&self, object: &Value, now: Timestamp) -> Amounts {
        let mut used = Amounts::from([(self.count.clone(), one())]);
        match self.kind {
            Kind::Pods => pods::usage(object, now, &mut used),
            Kind::Services => service_usage(&object["spec"], &mut used),
            Kind::Claims => claims::usage(object, &mut used),
            Kind::DeviceClaims => claims::device_usage(object, &mut used),
            Kind::Count(alias) => {
                if let Some(alias) = alias {
                    used.insert(alias.into(), one());
                }
            }
        }
        used
    }

    /// Whether a quota's resource name is about this resource.
    #[must_use]
    pub fn tracks(&self, name: &str) -> bool {
        name == self.count
            || match self.kind {
                Kind::Pods => pods::tracks(name),
                Kind::Services => {
                    matches!(name, "services" | "services.nodeports" | "services.loadbalancers")
                }
                Kind::Claims => claims::tracks(name),
                Kind::DeviceClaims => name.ends_with(claims::DEVICES),
                Kind::Count(alias) => alias == Some(name),
            }
    }

    fn tracked<'a>(&self, hard: &'a Amounts) -> Vec<&'a String> {
        hard.keys().filter(|name| self.tracks(name)).collect()
    }

    /// Whether an object is in every scope of a quota's spec.
    #[must_use]
    pub fn in_scopes(&self, quota: &Value, object: &Value) -> bool {
        scopes::of(quota).all(|(scope, operator, values)| match self.kind {
            Kind::Pods => scopes::pod(object, scope, operator, values),
            Kind::Claims => scopes::claim(object, scope, operator, values),
            _ => false,
        })
    }

    /// Whether a quota counts an object, by its `status.hard` and scopes.
    #[must_use]
    pub fn matches(&self, quota: &Value, object: &Value) -> bool {
        let hard = quota["status"]["hard"].as_object();
        hard.into_iter().flatten().any(|(name, _)| self.tracks(name)) && self.in_scopes(quota, object)
    }

    /// A write to check.
    #[must_use]
    pub fn charge(&self, object: &Value, old: Option<&Value>, subresource: &str, now: Timestamp) -> Charge {
        Charge {
            usage: self.usage(object, now),
            old_usage: old.map(|old| self.usage(old, now)),
            object: object.clone(),
            old: old.cloned(),
            status: subresource == "status",
        }
    }

    /// Checks a write against one quota. Gives the new `status.used` when it changes.
    ///
    /// # Errors
    /// Upstream's words of why the write is forbidden.
    pub fn check(&self, quota: &Value, charge: &Charge) -> Result<Option<Amounts>, String> {
        if !self.matches(quota, &charge.object) {
            return Ok(None);
        }
        let name = crate::meta::name(quota);
        let hard = amounts(&quota["status"]["hard"]);
        let used = amounts(&quota["status"]["used"]);
        let tracked = self.tracked(&hard);
        if self.kind == Kind::Pods {
            pods::must_specify(&charge.object, &tracked)
                .map_err(|why| format!("failed quota: {name}: {why}"))?;
        }
        if tracked.iter().any(|resource| !used.contains_key(*resource)) {
            let names: Vec<&str> = tracked.iter().map(|t| t.as_str()).collect();
            return Err(format!(
                "status unknown for quota: {name}, resources: {}",
                names.join(",")
            ));
        }
        let negative: Vec<&str> = charge
            .usage
            .iter()
            .filter(|(_, amount)| amount.sign() < 0)
            .map(|(name, _)| name.as_str())
            .collect();
        if !negative.is_empty() {
            return Err(format!(
                "quota usage is negative for resource(s): {}",
                negative.join(",")
            ));
        }
        let delta: Amounts = self
            .delta(quota, charge)
            .into_iter()
            .filter(|(name, amount)| !amount.is_zero() && hard.contains_key(name))
            .collect();
        if delta.is_empty() {
            return Ok(None);
        }
        let mut new = used.clone();
        add(&mut new, &delta);
        let exceeded: Vec<&String> = delta.keys().filter(|name| new[*name] > hard[*name]).collect();
        if !exceeded.is_empty() && !charge.status {
            return Err(format!(
                "exceeded quota: {name}, requested: {}, used: {}, limited: {}",
                shown(&delta, exceeded.iter().copied()),
                shown(&used, exceeded.iter().copied()),
                shown(&hard, exceeded.iter().copied()),
            ));
        }
        Ok(Some(new))
    }

    /// What a write adds; an update of what the quota counted before adds the growth only.
    fn delta(&self, quota: &Value, charge: &Charge) -> Amounts {
        let mut delta = charge.usage.clone();
        if let (Some(old), Some(before)) = (&charge.old, &charge.old_usage)
            && self.matches(quota, old)
        {
            for (name, amount) in &mut delta {
                let less = before.get(name).copied().unwrap_or(Quantity::ZERO);
                *amount -= less;
                if amount.sign() < 0 {
                    *amount = Quantity::ZERO;
                }
            }
        }
        delta
    }

    /// What objects use together of the resources that a quota's `spec.hard` names and this
    /// evaluator tracks.
    pub fn total<'a>(
        &self,
        quota: &Value,
        objects: impl Iterator<Item = &'a Value>,
        now: Timestamp,
    ) -> Amounts {
        let hard = amounts(&quota["spec"]["hard"]);
        let mut total: Amounts = self
            .tracked(&hard)
            .into_iter()
            .map(|name| (name.clone(), Quantity::ZERO))
            .collect();
        for object in objects.filter(|object| self.in_scopes(quota, object)) {
            let used = self.usage(object, now);
            for (name, sum) in &mut total {
                if let Some(amount) = used.get(name) {
                    *sum += *amount;
                }
            }
        }
        total
    }
}

fn service_usage(spec: &Value, used: &mut Amounts) {
    let ports = spec["ports"].as_array().map_or(&[][..], Vec::as_slice);
    let (node_ports, balancers) = match spec["type"].as_str() {
        Some("NodePort") => (ports.len(), 0),
        Some("LoadBalancer") if spec["allocateLoadBalancerNodePorts"] == false => {
            let chosen = ports.iter().filter(|p| p["nodePort"].as_u64().unwrap_or(0) != 0);
            (chosen.count(), 1)
        }
        Some("LoadBalancer") => (ports.len(), 1),
        _ => (0, 0),
    };
    used.insert("services".into(), one());
    used.insert("services.nodeports".into(), units(node_ports));
    used.insert("services.loadbalancers".into(), units(balancers));
}

#[cfg(test)]
mod tests;
