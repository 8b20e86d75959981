//! Stage between "may they" and the registry's own rules: plugins that change or refuse a write.
//! Upstream: `k8s.io/apiserver/pkg/admission`.

mod attributes;
mod certificates;
pub(crate) mod conditions;
mod default_class;
pub(crate) mod device_selectors;
mod escalation;
mod event_rate_limit;
mod image_policy;
mod limit_ranger;
mod namespace_lifecycle;
mod namespace_rules;
mod node_restriction;
mod notes;
mod optional;
mod owner_references;
mod pod_security;
pub(crate) mod policy;
mod priority;
mod quota;
mod references;
mod runtime_class;
mod service_account;
mod storage;
mod taint_nodes;
mod tolerations;
mod topology;
pub(crate) mod webhooks;

#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Instant};

use async_trait::async_trait;
use rkind_apimachinery::{field::quote, status::Status};
use serde_json::Value;

use crate::{
    authz::Attributes,
    catalog::Def,
    core::{Core, group_resource},
    error::Result,
    metrics::admission::Plugins,
    options::{self, AdmissionControl},
    registry::managed::Owners,
    user::UserInfo,
};

pub(crate) use attributes::OptionsOf;
pub(crate) use notes::Notes;

/// What is being done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Create,
    Update,
    Delete,
    Connect,
}

/// A write on its way. `object` is in stored form; for a deletion it is a copy of what is there.
pub(crate) struct Request<'a> {
    pub core: &'a Arc<Core>,
    pub user: &'a UserInfo,
    pub operation: Operation,
    pub def: &'a Def,
    /// Empty for the object itself.
    pub sub: &'a str,
    pub namespace: &'a str,
    pub name: &'a str,
    pub object: &'a mut Value,
    /// Owners of the object's fields, where they are not in it.
    pub owners: Option<&'a mut Owners>,
    /// Stored state; `None` for a create.
    pub old: Option<&'a Value>,
    pub options: OptionsOf<'a>,
    /// Nothing will be stored, nor may be changed elsewhere.
    pub dry_run: bool,
    /// Warnings and audit annotations go here.
    pub notes: &'a Notes,
    pub reinvocation: webhooks::Reinvocation,
}

impl Request<'_> {
    /// Makes the object whole for who looks at all of it.
    fn join_owners(&mut self) {
        if let Some(owners) = &mut self.owners {
            owners.join(self.object);
        }
    }

    /// Whether who asks may do this, too, in the request's namespace.
    pub(crate) async fn may(&self, verb: &str, group: &str, resource: &str, name: &str) -> bool {
        let wanted = Attributes {
            verb: verb.into(),
            namespace: self.namespace.into(),
            group: group.into(),
            version: "*".into(),
            resource: resource.into(),
            name: name.into(),
            is_resource: true,
            ..Default::default()
        };
        self.core.authorizer.decide(self.user, &wanted).await.allowed()
    }

    /// Whether this is an operation on the object itself of a resource.
    pub(crate) fn is(&self, group: &str, resource: &str, operation: Operation) -> bool {
        self.sub.is_empty()
            && self.operation == operation
            && self.def.group == group
            && self.def.resource == resource
    }

    /// 403 in the words of upstream's `admission.NewForbidden`.
    pub(crate) fn forbidden(&self, why: &str) -> Box<Status> {
        let generate = self.object["metadata"]["generateName"]
            .as_str()
            .unwrap_or_default();
        if self.name.is_empty() && !generate.is_empty() {
            let gr = group_resource(self.def);
            let mut status = Status::forbidden(&gr, "", why);
            status.message = format!(
                "{gr} {} is forbidden: {why}",
                quote(&format!("{generate}Unknown"))
            );
            return status.into();
        }
        Status::forbidden(&group_resource(self.def), self.name, why).into()
    }
}

/// A plugin that may change a write.
#[async_trait]
pub(crate) trait Admit: Send + Sync {
    /// Upstream's name of the plugin.
    fn name(&self) -> &'static str;
    /// Whether somebody else is shown the object, who is to see the owners of its fields.
    fn shows(&self, _core: &Core) -> bool {
        false
    }
    /// Changes or refuses.
    ///
    /// # Errors
    /// What the client is told.
    async fn admit(&self, request: &mut Request<'_>) -> Result<()>;
}

/// A plugin that may refuse a write as it will be stored.
#[async_trait]
pub(crate) trait Validate: Send + Sync {
    /// Upstream's name of the plugin.
    fn name(&self) -> &'static str;
    /// Whether somebody else is shown the object, who is to see the owners of its fields.
    fn shows(&self, _core: &Core) -> bool {
        false
    }
    /// Refuses or not.
    ///
    /// # Errors
    /// What the client is told.
    async fn validate(&self, request: &Request<'_>) -> Result<()>;
}

type Mutating = Vec<Box<dyn Admit>>;
type Validating = Vec<Box<dyn Validate>>;

/// The plugins in upstream's order.
pub(crate) struct Chain {
    mutating: Mutating,
    validating: Validating,
    /// How long each of them took, in their order.
    pub mutated: Plugins,
    pub validated: Plugins,
}

/// Plugins that run only where they are asked for. Upstream: `DefaultOffAdmissionPlugins`.
const OFF: [&str; 13] = [
    "AlwaysAdmit",
    "AlwaysDeny",
    "AlwaysPullImages",
    "DenyServiceExternalIPs",
    EVENT_RATE_LIMIT,
    "ExtendedResourceToleration",
    IMAGE_POLICY_WEBHOOK,
    "LimitPodHardAntiAffinityTopology",
    "NamespaceAutoProvision",
    "NamespaceExists",
    "OwnerReferencesPermissionEnforcement",
    "PodNodeSelector",
    "PodTolerationRestriction",
];

/// Upstream's plugins that there are none of here: who leaves them out has what he wants.
const ABSENT: [&str; 1] = ["NodeDeclaredFeatureValidator"];

const EVENT_RATE_LIMIT: &str = "EventRateLimit";
const IMAGE_POLICY_WEBHOOK: &str = "ImagePolicyWebhook";
const POD_SECURITY: &str = "PodSecurity";
/// Plugins that read a configuration. The first two do nothing without one.
const CONFIGURED: [&str; 3] = [EVENT_RATE_LIMIT, IMAGE_POLICY_WEBHOOK, POD_SECURITY];

/// Why plugins cannot be chosen so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PluginError {
    #[error("admission plugin {0:?} is unknown")]
    Unknown(String),
    /// One of upstream's that this server has not.
    #[error("admission plugin {0:?} is not served here")]
    NotServed(String),
    /// A plugin that does nothing without a configuration.
    #[error("admission plugin {0:?} has no configuration")]
    NoConfiguration(&'static str),
    #[error("--admission-control-config-file: plugin {plugin}: {why}")]
    Configuration { plugin: String, why: String },
}

impl PluginError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            PluginError::Unknown(_) => {
                "names are those of https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/"
            }
            PluginError::NotServed(_) => "leave it out of --enable-admission-plugins",
            PluginError::NoConfiguration(_) => "name a file with one in --admission-control-config-file",
            PluginError::Configuration { .. } => {
                "the file is an AdmissionConfiguration: https://kubernetes.io/docs/reference/config-api/apiserver-config.v1/"
            }
        }
    }
}

/// All plugins but those that do nothing without a configuration.
fn all(pod_security: pod_security::PodSecurity) -> (Mutating, Validating) {
    (
        vec![
            Box::new(optional::NamespaceAutoProvision),
            Box::new(namespace_lifecycle::NamespaceLifecycle),
            Box::new(limit_ranger::LimitRanger),
            Box::new(service_account::ServiceAccount),
            Box::new(node_restriction::NodeRestriction),
            Box::new(taint_nodes::TaintNodesByCondition),
            Box::new(optional::AlwaysPullImages),
            Box::new(namespace_rules::PodNodeSelector),
            Box::new(priority::Priority),
            Box::new(tolerations::DefaultTolerationSeconds),
            Box::new(namespace_rules::PodTolerationRestriction),
            Box::new(optional::ExtendedResourceToleration),
            Box::new(default_class::DEFAULT_STORAGE_CLASS),
            Box::new(storage::StorageObjectInUseProtection),
            Box::new(runtime_class::RuntimeClass),
            Box::new(default_class::DEFAULT_INGRESS_CLASS),
            Box::new(topology::PodTopologyLabels),
            Box::new(policy::mutating::Mutating::default()),
            Box::new(webhooks::Mutating::default()),
        ],
        vec![
            Box::new(optional::AlwaysAdmit),
            Box::new(namespace_lifecycle::NamespaceLifecycle),
            Box::new(optional::NamespaceExists),
            Box::new(optional::LimitPodHardAntiAffinityTopology),
            Box::new(limit_ranger::LimitRanger),
            Box::new(service_account::ServiceAccount),
            Box::new(optional::AlwaysPullImages),
            Box::new(pod_security),
            Box::new(namespace_rules::PodNodeSelector),
            Box::new(priority::Priority),
            Box::new(namespace_rules::PodTolerationRestriction),
            Box::new(owner_references::OwnerReferencesPermissionEnforcement),
            Box::new(storage::PersistentVolumeClaimResize),
            Box::new(runtime_class::RuntimeClass),
            Box::new(certificates::Approval),
            Box::new(certificates::Signing),
            Box::new(certificates::BundleAttest),
            Box::new(certificates::SubjectRestriction),
            Box::new(optional::DenyServiceExternalIps),
            Box::new(policy::Validating::default()),
            Box::new(webhooks::Validating::default()),
            Box::new(quota::ResourceQuota::default()),
            Box::new(optional::AlwaysDeny),
        ],
    )
}

/// A plugin by its configuration, or which plugin's is wrong.
fn with<T>(plugin: &str, made: std::result::Result<T, String>) -> std::result::Result<T, PluginError> {
    made.map_err(|why| PluginError::Configuration {
        plugin: plugin.to_owned(),
        why,
    })
}

impl Chain {
    /// All plugins that upstream runs by default or that are enabled, but those that are disabled and not
    /// enabled; what is no plugin upstream can't be left out.
    ///
    /// # Errors
    /// The first name that no plugin has, or that is to be run and isn't here.
    pub(crate) fn chosen(options: &options::Admission) -> std::result::Result<Self, PluginError> {
        let given = options.admission_control_config_file.as_ref();
        let configuration = |plugin: &str| given.and_then(|given| given.of(plugin));
        let (mut mutating, mut validating) = all(match configuration(POD_SECURITY) {
            Some(own) => with(POD_SECURITY, pod_security::PodSecurity::new(own))?,
            None => pod_security::PodSecurity::default(),
        });
        let (off, on) = (
            &options.disable_admission_plugins,
            &options.enable_admission_plugins,
        );
        let has = |name: &str| {
            if CONFIGURED.contains(&name) {
                return true;
            }
            let mut mutating = mutating.iter().map(|plugin| plugin.name());
            let mut validating = validating.iter().map(|plugin| plugin.name());
            mutating.any(|own| own == name) || validating.any(|own| own == name)
        };
        let absent = |name: &str| ABSENT.contains(&name);
        // An empty name is what a flag without a value leaves.
        let off_unknown = off
            .iter()
            .find(|name| !has(name) && !absent(name) && !name.is_empty());
        let on_unknown = on.iter().find(|name| !has(name) && !name.is_empty());
        if let Some(unknown) = on_unknown.or(off_unknown) {
            return Err(match absent(unknown) {
                true => PluginError::NotServed(unknown.clone()),
                false => PluginError::Unknown(unknown.clone()),
            });
        }
        let stays = |name: &str| {
            let left_out = OFF.contains(&name) || off.iter().any(|off| off == name);
            !left_out || on.iter().any(|on| on == name)
        };
        // Configuration of what is not run is nobody's; of what is, it must be read.
        for (plugin, own) in given.into_iter().flat_map(AdmissionControl::plugins) {
            if !own.is_null() && !CONFIGURED.contains(&plugin) && stays(plugin) {
                let why = "has no configuration here; leave it out of the file".to_owned();
                let plugin = plugin.to_owned();
                return Err(PluginError::Configuration { plugin, why });
            }
        }
        mutating.retain(|plugin| stays(plugin.name()));
        validating.retain(|plugin| stays(plugin.name()));
        for (name, before) in [
            (IMAGE_POLICY_WEBHOOK, POD_SECURITY),
            (EVENT_RATE_LIMIT, "OwnerReferencesPermissionEnforcement"),
        ] {
            if !stays(name) {
                continue;
            }
            let own = configuration(name).ok_or(PluginError::NoConfiguration(name))?;
            let plugin: Box<dyn Validate> = match name {
                EVENT_RATE_LIMIT => Box::new(with(name, event_rate_limit::EventRateLimit::new(own))?),
                _ => Box::new(with(name, image_policy::ImagePolicyWebhook::new(own))?),
            };
            // In upstream's order, as far as its neighbours run.
            let at = validating.iter().position(|other| other.name() == before);
            validating.insert(at.unwrap_or(0), plugin);
        }
        // Upstream's registry asks this itself, whatever the plugins are.
        validating.insert(0, Box::new(escalation::Escalation));
        Ok(Chain {
            mutated: Plugins::new(mutating.iter().map(|plugin| plugin.name())),
            validated: Plugins::new(validating.iter().map(|plugin| plugin.name())),
            mutating,
            validating,
        })
    }

    /// Runs the mutating plugins, a second time when a webhook changed what those before it saw.
    ///
    /// # Errors
    /// The first refusal.
    pub(crate) async fn mutate(&self, mut request: Request<'_>) -> Result<()> {
        let (operation, began) = (request.operation.as_str(), Instant::now());
        let mut last = began;
        let done: Result<()> = async {
            for again in [false, true] {
                request.reinvocation.again = again;
                for (plugin, (_, timings)) in self.mutating.iter().zip(&self.mutated.each) {
                    if plugin.shows(request.core) {
                        request.join_owners();
                    }
                    let done = plugin.admit(&mut request).await;
                    let before = std::mem::replace(&mut last, Instant::now());
                    timings.observe(operation, done.is_err(), last - before);
                    done.inspect_err(|error| refused(plugin.name(), error))?;
                }
                if !request.reinvocation.wanted {
                    break;
                }
            }
            Ok(())
        }
        .await;
        let step = &self.mutated.step;
        step.observe(operation, done.is_err(), last - began);
        done
    }

    /// Runs the validating plugins.
    ///
    /// # Errors
    /// The first refusal.
    pub(crate) async fn validate(&self, mut request: Request<'_>) -> Result<()> {
        if self.validating.iter().any(|plugin| plugin.shows(request.core)) {
            request.join_owners();
        }
        let (operation, began) = (request.operation.as_str(), Instant::now());
        let mut last = began;
        let done: Result<()> = async {
            for (plugin, (_, timings)) in self.validating.iter().zip(&self.validated.each) {
                let done = plugin.validate(&request).await;
                let before = std::mem::replace(&mut last, Instant::now());
                timings.observe(operation, done.is_err(), last - before);
                done.inspect_err(|error| refused(plugin.name(), error))?;
            }
            Ok(())
        }
        .await;
        let step = &self.validated.step;
        step.observe(operation, done.is_err(), last - began);
        done
    }
}

fn refused(plugin: &str, error: &Status) {
    tracing::debug!(plugin, message = %error.message, "admission refused");
}
