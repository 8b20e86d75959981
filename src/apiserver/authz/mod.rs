//! Third stage: may they. `system:masters` may do everything; everybody else what the authorizers in
//! order grant: by default kubelets what their pods need, then everybody what RBAC says.

mod config;
pub(crate) mod node;
pub(crate) mod rbac;
pub(crate) mod selectors;
mod webhook;

#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, sync::Arc};

use arc_swap::ArcSwap;
use rkind_apimachinery::{field::quote, meta::GroupResource, status::Status};
use selectors::Selectors;

use crate::{
    error::Result,
    options,
    outbound::RemoteError,
    request::RequestInfo,
    user::{MASTERS, UserInfo},
};

/// What somebody wants to do. Upstream: `authorizer.Attributes`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub verb: String,
    pub namespace: String,
    pub group: String,
    pub version: String,
    pub resource: String,
    pub subresource: String,
    pub name: String,
    /// Path of a request for no resource; empty for resources.
    pub path: String,
    pub is_resource: bool,
    /// What a read of many selects.
    pub selectors: Selectors,
}

impl Attributes {
    /// Of a request.
    pub(crate) fn of(info: &RequestInfo) -> Self {
        Attributes {
            verb: info.verb.clone(),
            namespace: info.namespace.clone(),
            group: info.group.clone(),
            version: info.version.clone(),
            resource: info.resource.clone(),
            subresource: info.subresource.clone(),
            name: info.name.clone(),
            path: info.path.clone(),
            is_resource: info.is_resource,
            selectors: Selectors::of_query(&info.field_selector, &info.label_selector),
        }
    }

    /// `resource` or `resource/subresource`.
    pub(crate) fn combined(&self) -> String {
        if self.subresource.is_empty() {
            self.resource.clone()
        } else {
            format!("{}/{}", self.resource, self.subresource)
        }
    }
}

/// Outcome of authorization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    Allow(String),
    /// Somebody forbade it; nobody else is asked.
    Deny(String),
    /// Nobody allowed it; with what went wrong on the way, if anything.
    NoOpinion(String),
}

impl Decision {
    pub(crate) fn allowed(&self) -> bool {
        matches!(self, Decision::Allow(_))
    }

    pub(crate) fn reason(&self) -> &str {
        match self {
            Decision::Allow(reason) | Decision::Deny(reason) | Decision::NoOpinion(reason) => reason,
        }
    }
}

/// Why authorization cannot be set up as asked, in upstream's words.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("authorization-mode {0:?} is not a valid mode")]
    Mode(String),
    #[error("authorization-mode {0:?} has mode specified more than once")]
    Twice(Vec<String>),
    #[error("authorization-mode Webhook's authorization config file not passed")]
    NoWebhook,
    #[error("cannot specify --authorization-webhook-config-file without mode Webhook")]
    IdleWebhook,
    #[error(
        "--authorization-config can not be specified when --authorization-mode or --authorization-webhook-* flags are defined"
    )]
    Exclusive,
    #[error("authorization configuration: {0}")]
    Config(String),
    #[error("authorization webhook")]
    Webhook(#[source] RemoteError),
}

/// Who is asked.
enum Step {
    Node,
    Rbac,
    Webhook(Box<webhook::Webhook>),
    Always(bool),
}

impl Step {
    /// The mode's name; `None` for webhooks.
    fn mode(&self) -> Option<&'static str> {
        match self {
            Step::Node => Some("Node"),
            Step::Rbac => Some("RBAC"),
            Step::Always(true) => Some("AlwaysAllow"),
            Step::Always(false) => Some("AlwaysDeny"),
            Step::Webhook(_) => None,
        }
    }
}

/// The chain that the classic flags name; without any, `Node` and `RBAC`.
fn classic(options: &options::Authorization) -> std::result::Result<Vec<config::Authorizer>, Error> {
    let modes = &options.authorization_mode;
    let twice = modes
        .iter()
        .enumerate()
        .any(|(i, mode)| modes[..i].contains(mode));
    if twice {
        return Err(Error::Twice(modes.clone()));
    }
    let kubeconfig = options.authorization_webhook_config_file.as_deref();
    if kubeconfig.is_some() && !modes.iter().any(|mode| mode == "Webhook") {
        return Err(Error::IdleWebhook);
    }
    let default = ["Node".to_owned(), "RBAC".to_owned()];
    let modes = if modes.is_empty() { &default[..] } else { modes };
    modes
        .iter()
        .map(|mode| {
            let webhook = || {
                Ok(config::Webhook {
                    kubeconfig: kubeconfig.ok_or(Error::NoWebhook)?.to_owned(),
                    timeout: webhook::TIMEOUT,
                    allowed: options.authorization_webhook_cache_authorized_ttl,
                    refused: options.authorization_webhook_cache_unauthorized_ttl,
                    version: options.authorization_webhook_version.clone(),
                    denies: false,
                    conditions: Vec::new(),
                })
            };
            Ok(config::Authorizer {
                mode: mode.clone(),
                webhook: (mode == "Webhook").then(webhook).transpose()?,
            })
        })
        .collect()
}

/// The chain of authorizers.
pub(crate) struct Authorizer {
    pub node: node::NodeAuthorizer,
    pub rbac: rbac::Rbac,
    steps: ArcSwap<Vec<Step>>,
}

fn steps(chain: Vec<config::Authorizer>) -> std::result::Result<Vec<Step>, Error> {
    let step = |one: config::Authorizer| {
        Ok(match (one.mode.as_str(), one.webhook) {
            ("RBAC", _) => Step::Rbac,
            ("Node", _) => Step::Node,
            ("AlwaysAllow", _) => Step::Always(true),
            ("AlwaysDeny", _) => Step::Always(false),
            ("Webhook", Some(webhook)) => {
                let webhook = webhook::Webhook::new(webhook).map_err(Error::Webhook)?;
                Step::Webhook(Box::new(webhook))
            }
            _ => return Err(Error::Mode(one.mode)),
        })
    };
    chain.into_iter().map(step).collect()
}

impl Authorizer {
    /// By options.
    ///
    /// # Errors
    /// For modes that are unknown, or a webhook that cannot be used.
    pub(crate) fn new(
        node: node::NodeAuthorizer,
        rbac: rbac::Rbac,
        options: &options::Authorization,
    ) -> std::result::Result<Self, Error> {
        let chain = match &options.authorization_config {
            Some(_) if options.is_classic() => return Err(Error::Exclusive),
            Some(config) => config::parse(config).map_err(Error::Config)?,
            None => classic(options)?,
        };
        Ok(Authorizer {
            node,
            rbac,
            steps: ArcSwap::from_pointee(steps(chain)?),
        })
    }

    /// Takes a new text of the configuration file on.
    ///
    /// # Errors
    /// When it cannot be used, or other authorizers than webhooks would come or go; what was there stays.
    pub(crate) fn reload(&self, file: &str) -> std::result::Result<(), Error> {
        let new = steps(config::parse(file).map_err(Error::Config)?)?;
        let old = self.steps.load();
        let named = |steps: &[Step]| steps.iter().filter_map(Step::mode).collect::<BTreeSet<_>>();
        let (old, named) = (named(&old), named(&new));
        let missing: Vec<_> = old.difference(&named).copied().collect();
        if !missing.is_empty() {
            let missing = missing.join(" ");
            return Err(Error::Config(format!("missing required types: [{missing}]")));
        }
        if let Some(mode) = ["Node", "RBAC"]
            .into_iter()
            .find(|m| named.contains(m) && !old.contains(m))
        {
            return Err(Error::Config(format!(
                "authorizer type {mode} is not allowed if it was not enabled at initial server startup"
            )));
        }
        self.steps.store(Arc::new(new));
        Ok(())
    }

    /// Decides.
    pub(crate) async fn decide(&self, user: &UserInfo, wanted: &Attributes) -> Decision {
        if user.in_group(MASTERS) {
            return Decision::Allow(String::new());
        }
        let mut reasons: Vec<String> = Vec::new();
        let steps = self.steps.load_full();
        for step in steps.iter() {
            let decision = match self.own(step, user, wanted) {
                Ok(decision) => decision,
                Err(webhook) => webhook.decide(user, wanted).await,
            };
            if let Some(decided) = decided(decision, &mut reasons) {
                return decided;
            }
        }
        Decision::NoOpinion(reasons.join("\n"))
    }

    /// As [`Authorizer::decide`], for who cannot wait: expressions. A webhook is heard only where its
    /// answer is still known; else it has no opinion, which denies.
    pub(crate) fn decide_here(&self, user: &UserInfo, wanted: &Attributes) -> Decision {
        if user.in_group(MASTERS) {
            return Decision::Allow(String::new());
        }
        let mut reasons: Vec<String> = Vec::new();
        let steps = self.steps.load();
        for step in steps.iter() {
            let decision = match self.own(step, user, wanted) {
                Ok(decision) => decision,
                Err(webhook) => webhook.known(user, wanted),
            };
            if let Some(decided) = decided(decision, &mut reasons) {
                return decided;
            }
        }
        Decision::NoOpinion(reasons.join("\n"))
    }

    /// What a step says by itself; a webhook is left to who asks.
    fn own<'a>(
        &self,
        step: &'a Step,
        user: &UserInfo,
        wanted: &Attributes,
    ) -> std::result::Result<Decision, &'a webhook::Webhook> {
        Ok(match step {
            Step::Node => self.node.decide(user, wanted),
            Step::Rbac => self.rbac.decide(user, wanted),
            Step::Webhook(webhook) => return Err(webhook),
            Step::Always(true) => Decision::Allow(String::new()),
            Step::Always(false) => Decision::NoOpinion("Everything is forbidden.".into()),
        })
    }

    /// Decides, as an error for the client.
    ///
    /// # Errors
    /// 403, worded as upstream's `responsewriters.Forbidden`.
    pub(crate) async fn check(&self, user: &UserInfo, wanted: &Attributes) -> Result<()> {
        match self.decide(user, wanted).await {
            Decision::Allow(_) => Ok(()),
            Decision::Deny(reason) | Decision::NoOpinion(reason) => {
                Err(forbidden(user, wanted, &reason).into())
            }
        }
    }

    /// As [`Authorizer::check`], for the request itself: what was decided is audited.
    ///
    /// # Errors
    /// As [`Authorizer::check`].
    pub(crate) async fn admit(&self, user: &UserInfo, wanted: &Attributes) -> Result<()> {
        let decision = self.decide(user, wanted).await;
        if crate::audit::is_recording() {
            let verdict = if decision.allowed() { "allow" } else { "forbid" };
            crate::audit::annotate("authorization.k8s.io/decision", verdict);
            crate::audit::annotate("authorization.k8s.io/reason", decision.reason());
        }
        match decision {
            Decision::Allow(_) => Ok(()),
            Decision::Deny(reason) | Decision::NoOpinion(reason) => {
                Err(forbidden(user, wanted, &reason).into())
            }
        }
    }
}

/// The 403 for `wanted`.
pub(crate) fn forbidden(user: &UserInfo, wanted: &Attributes, reason: &str) -> Status {
    let mut why = denial(user, wanted);
    if !reason.is_empty() {
        why.push_str(": ");
        why.push_str(reason);
    }
    if !wanted.is_resource {
        return Status::forbidden(&GroupResource::default(), "", &why);
    }
    Status::forbidden(
        &GroupResource::new(&wanted.group, &wanted.resource),
        &wanted.name,
        &why,
    )
}

/// What ends the chain; without it, why a step had no opinion is kept.
fn decided(decision: Decision, reasons: &mut Vec<String>) -> Option<Decision> {
    match decision {
        Decision::NoOpinion(reason) if reason.is_empty() => None,
        Decision::NoOpinion(reason) => {
            reasons.push(reason);
            None
        }
        decided => Some(decided),
    }
}

fn denial(user: &UserInfo, wanted: &Attributes) -> String {
    let who = quote(&user.name);
    let verb = &wanted.verb;
    if !wanted.is_resource {
        return format!("User {who} cannot {verb} path {}", quote(&wanted.path));
    }
    let what = format!(
        "User {who} cannot {verb} resource {} in API group {}",
        quote(&wanted.combined()),
        quote(&wanted.group)
    );
    if wanted.namespace.is_empty() {
        format!("{what} at the cluster scope")
    } else {
        format!("{what} in the namespace {}", quote(&wanted.namespace))
    }
}
