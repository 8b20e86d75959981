//! Plugins that upstream leaves out unless asked for, each a rule of a few lines.

use std::collections::{BTreeSet, HashSet};

use async_trait::async_trait;
use rkind_apimachinery::{
    field::Error,
    field::Path,
    meta::{self, GroupResource},
    resources,
    status::Status,
};
use serde_json::{Value, json};

use super::{Admit, Operation, Request, Validate};
use crate::{
    error::Result,
    registry::{create::Write, rules::recheck},
    request::options::FieldValidation,
};

/// Lets everything be.
pub(super) struct AlwaysAdmit;

#[async_trait]
impl Validate for AlwaysAdmit {
    fn name(&self) -> &'static str {
        "AlwaysAdmit"
    }

    async fn validate(&self, _: &Request<'_>) -> Result<()> {
        Ok(())
    }
}

/// Refuses everything.
pub(super) struct AlwaysDeny;

#[async_trait]
impl Validate for AlwaysDeny {
    fn name(&self) -> &'static str {
        "AlwaysDeny"
    }

    async fn validate(&self, request: &Request<'_>) -> Result<()> {
        Err(request.forbidden("admission control is denying all modifications"))
    }
}

/// A pod itself that is made, or changed.
fn is_written_pod(request: &Request<'_>) -> bool {
    request.is("", "pods", Operation::Create) || request.is("", "pods", Operation::Update)
}

/// Images are pulled anew, so that who may not pull one cannot use it because it is on the node already.
/// Upstream: `plugin/pkg/admission/alwayspullimages`.
pub(super) struct AlwaysPullImages;

const CONTAINERS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

fn containers<'p>(pod: &'p Value, list: &str) -> impl Iterator<Item = &'p Value> {
    pod["spec"][list].as_array().into_iter().flatten()
}

fn images(pod: &Value) -> HashSet<&str> {
    let all = CONTAINERS.iter().flat_map(|list| containers(pod, list));
    all.filter_map(|c| c["image"].as_str()).collect()
}

impl AlwaysPullImages {
    fn concerns(request: &Request<'_>) -> bool {
        is_written_pod(request)
            && request
                .old
                .is_none_or(|old| !images(request.object).is_subset(&images(old)))
    }
}

#[async_trait]
impl Admit for AlwaysPullImages {
    fn name(&self) -> &'static str {
        "AlwaysPullImages"
    }

    async fn admit(&self, request: &mut Request<'_>) -> Result<()> {
        if !Self::concerns(request) {
            return Ok(());
        }
        let spec = meta::child_object(request.object, "spec");
        for list in CONTAINERS {
            let containers = spec.get_mut(list).and_then(Value::as_array_mut);
            for container in containers.into_iter().flatten() {
                container["imagePullPolicy"] = json!("Always");
            }
        }
        let volumes = spec.get_mut("volumes").and_then(Value::as_array_mut);
        for volume in volumes.into_iter().flatten().filter(|v| v["image"].is_object()) {
            volume["image"]["pullPolicy"] = json!("Always");
        }
        Ok(())
    }
}

#[async_trait]
impl Validate for AlwaysPullImages {
    fn name(&self) -> &'static str {
        "AlwaysPullImages"
    }

    async fn validate(&self, request: &Request<'_>) -> Result<()> {
        if !Self::concerns(request) {
            return Ok(());
        }
        let spec = Path::new("spec");
        let of_containers = CONTAINERS.iter().flat_map(|list| {
            let path = spec.child(list);
            let all = containers(request.object, list).enumerate();
            all.map(move |(index, c)| (path.index(index).child("imagePullPolicy"), &c["imagePullPolicy"]))
        });
        let of_volumes = containers(request.object, "volumes")
            .enumerate()
            .filter(|(_, volume)| volume["image"].is_object())
            .map(|(index, volume)| {
                let path = spec.child("volumes").index(index).child("image");
                (path.child("pullPolicy"), &volume["image"]["pullPolicy"])
            });
        for (path, policy) in of_containers.chain(of_volumes) {
            if policy != "Always" {
                let policy = policy.as_str().unwrap_or_default();
                let why = Error::not_supported(&path, policy, &["Always"]);
                return Err(request.forbidden(&why.to_string()));
            }
        }
        Ok(())
    }
}

/// Nobody takes addresses that the cluster does not own. Upstream:
/// `plugin/pkg/admission/network/denyserviceexternalips`.
pub(super) struct DenyServiceExternalIps;

#[async_trait]
impl Validate for DenyServiceExternalIps {
    fn name(&self) -> &'static str {
        "DenyServiceExternalIPs"
    }

    async fn validate(&self, request: &Request<'_>) -> Result<()> {
        let written = [Operation::Create, Operation::Update];
        if !written
            .iter()
            .any(|operation| request.is("", "services", *operation))
        {
            return Ok(());
        }
        let addresses = |service: &Value| service["spec"]["externalIPs"].as_array().cloned();
        let known = request.old.and_then(addresses).unwrap_or_default();
        let mut wanted = addresses(request.object).into_iter().flatten();
        if wanted.any(|address| !known.contains(&address)) {
            return Err(request.forbidden("Use of external IPs is denied by admission control"));
        }
        Ok(())
    }
}

/// Pods keep others off a node at most, not off a whole zone. Upstream: `plugin/pkg/admission/antiaffinity`.
pub(super) struct LimitPodHardAntiAffinityTopology;

#[async_trait]
impl Validate for LimitPodHardAntiAffinityTopology {
    fn name(&self) -> &'static str {
        "LimitPodHardAntiAffinityTopology"
    }

    async fn validate(&self, request: &Request<'_>) -> Result<()> {
        const HOST: &str = "kubernetes.io/hostname";
        if !is_written_pod(request) {
            return Ok(());
        }
        let hard = request
            .object
            .pointer("/spec/affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution");
        for term in hard.and_then(Value::as_array).into_iter().flatten() {
            let key = term["topologyKey"].as_str().unwrap_or_default();
            if key != HOST {
                let why = format!(
                    "affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey {key} but only key {HOST} is allowed"
                );
                return Err(Status::forbidden(
                    &GroupResource::new("", "pods"),
                    meta::name(request.object),
                    &why,
                )
                .into());
            }
        }
        Ok(())
    }
}

/// Upstream: `helper.IsExtendedResourceName`.
fn is_extended(resource: &str) -> bool {
    resource.contains('/') && !resource.contains("kubernetes.io/") && !resource.starts_with("requests.")
}

/// Pods that ask for an extended resource tolerate the taint of its name. Upstream:
/// `plugin/pkg/admission/extendedresourcetoleration`.
pub(super) struct ExtendedResourceToleration;

#[async_trait]
impl Admit for ExtendedResourceToleration {
    fn name(&self) -> &'static str {
        "ExtendedResourceToleration"
    }

    async fn admit(&self, request: &mut Request<'_>) -> Result<()> {
        if !is_written_pod(request) {
            return Ok(());
        }
        let pod = &*request.object;
        let asking = ["containers", "initContainers"].into_iter();
        let names: BTreeSet<String> = asking
            .flat_map(|list| containers(pod, list))
            .filter_map(|c| c["resources"]["requests"].as_object())
            .flat_map(|requests| requests.keys())
            .filter(|name| is_extended(name))
            .cloned()
            .collect();
        if names.is_empty() {
            return Ok(());
        }
        let tolerations = meta::child_object(request.object, "spec")
            .entry("tolerations")
            .or_insert_with(|| json!([]));
        if tolerations.is_null() {
            *tolerations = json!([]);
        }
        if let Some(tolerations) = tolerations.as_array_mut() {
            for name in names {
                let toleration = json!({"key": name, "operator": "Exists", "effect": "NoSchedule"});
                if !tolerations.contains(&toleration) {
                    tolerations.push(toleration);
                }
            }
        }
        Ok(())
    }
}

/// Nothing is written, or deleted, in a namespace that is not there. Upstream:
/// `plugin/pkg/admission/namespace/exists`.
pub(super) struct NamespaceExists;

#[async_trait]
impl Validate for NamespaceExists {
    fn name(&self) -> &'static str {
        "NamespaceExists"
    }

    async fn validate(&self, request: &Request<'_>) -> Result<()> {
        if request.namespace.is_empty() || request.operation == Operation::Connect {
            return Ok(());
        }
        if request
            .core
            .cached("core/namespaces", request.namespace)
            .is_none()
        {
            request.core.cache.catch_up().await?;
            if request
                .core
                .cached("core/namespaces", request.namespace)
                .is_none()
            {
                let namespaces = GroupResource::new("", "namespaces");
                return Err(Status::not_found(&namespaces, request.namespace).into());
            }
        }
        Ok(())
    }
}

/// A namespace that something is created in is there. Upstream: `plugin/pkg/admission/namespace/autoprovision`.
pub(super) struct NamespaceAutoProvision;

#[async_trait]
impl Admit for NamespaceAutoProvision {
    fn name(&self) -> &'static str {
        "NamespaceAutoProvision"
    }

    async fn admit(&self, request: &mut Request<'_>) -> Result<()> {
        let is_concerned = request.operation == Operation::Create && request.def.namespaced;
        if !is_concerned
            || request.dry_run
            || request
                .core
                .cached("core/namespaces", request.namespace)
                .is_some()
        {
            return Ok(());
        }
        let def = resources::find("", "v1", "namespaces").ok_or_else(Status::unknown_resource)?;
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": request.namespace}});
        let write = Write::internal(request.core, def, "");
        let (mut namespace, _) = recheck(&write.def, namespace, FieldValidation::Strict)?;
        meta::remove(&mut namespace, "creationTimestamp");
        match write.create(namespace).await {
            Err(error) if error.reason != "AlreadyExists" => Err(request.forbidden(&error.message)),
            _ => Ok(()),
        }
    }
}
