//! What a cluster has from its first second: namespaces, roles, priority classes, the `kubernetes`
//! Service. All of it is made idempotently at every start.

pub(crate) mod identity;
mod policy;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use rkind_apimachinery::{meta, resources, status::Status};
use serde_json::{Value, json};

use crate::{
    core::Core,
    error::Result,
    machinery,
    options::RequestHeader,
    registry::{create::Write, read},
};

/// Namespaces that always are.
const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];

/// What is put in the `extension-apiserver-authentication` ConfigMap.
#[derive(Clone, Debug, Default)]
pub struct Authorities {
    /// PEM of the authority of client certificates.
    pub client_ca: String,
    /// PEM of the front proxy's authority; empty when there is none.
    pub request_header_ca: String,
    /// Which proxies are believed, and the headers they set.
    pub request_header: RequestHeader,
}

/// What every kubelet may do, by the role `system:node`.
pub(crate) fn node_rules() -> Vec<crate::authz::rbac::Rule> {
    let objects = policy::objects();
    let role = objects
        .iter()
        .find(|(resource, _, role)| *resource == "clusterroles" && meta::name(role) == "system:node");
    role.and_then(|(_, _, role)| serde_json::from_value(role["rules"].clone()).ok())
        .unwrap_or_default()
}

/// Makes everything.
///
/// # Errors
/// Of the first write that is refused.
pub(crate) async fn run(core: &Arc<Core>, authorities: &Authorities) -> Result<()> {
    for namespace in NAMESPACES {
        let object =
            json!({"metadata": {"name": namespace, "labels": {"kubernetes.io/metadata.name": namespace}}});
        ensure(core, "", "v1", "namespaces", "", object).await?;
    }
    core.cache.catch_up().await?;
    // Writes of one round share the store's disk writes.
    futures::future::try_join_all(
        policy::objects()
            .into_iter()
            .map(
                |(resource, namespace, object)| async move { role(core, resource, &namespace, object).await },
            ),
    )
    .await?;
    for (name, value, description) in [
        (
            "system-cluster-critical",
            2_000_000_000_i64,
            "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
        ),
        (
            "system-node-critical",
            2_000_001_000,
            "Used for system critical pods that must not be moved from their current node.",
        ),
    ] {
        let object = json!({"metadata": {"name": name}, "value": value, "description": description});
        ensure(core, "scheduling.k8s.io", "v1", "priorityclasses", "", object).await?;
    }
    authentication(core, authorities).await?;
    token_tracking(core).await?;
    kubernetes_service(core).await
}

/// Since when the use of service accounts' Secrets is recorded: what was not used since may be removed
/// (KEP-2799). Upstream: `pkg/controlplane/controller/legacytokentracking`.
async fn token_tracking(core: &Arc<Core>) -> Result<()> {
    let since = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
    let object = json!({"metadata": {"name": "kube-apiserver-legacy-service-account-token-tracking"},
        "data": {"since": since}});
    ensure(core, "", "v1", "configmaps", "kube-system", object).await
}

/// How often the `kubernetes` Service is looked after.
const KEEP: std::time::Duration = std::time::Duration::from_secs(10);

/// Makes the `kubernetes` Service and its endpoints again when somebody deleted them.
pub(crate) async fn keep(core: Arc<Core>) {
    let mut ticks = tokio::time::interval(KEEP);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = core.shutdown.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let there = |resource: &str| core.cached(resource, "default/kubernetes").is_some();
        let has_endpoints = core.settings.advertise_address.is_loopback()
            || (there("core/endpoints") && there("discovery.k8s.io/endpointslices"));
        let has_cidr = core
            .cached("networking.k8s.io/servicecidrs", "kubernetes")
            .is_some();
        if there("core/services") && has_endpoints && has_cidr {
            continue;
        }
        if let Err(status) = kubernetes_service(&core).await {
            tracing::warn!(message = %status.message, "cannot make the kubernetes service");
        }
    }
}

/// Creates an object unless it is there.
async fn ensure(
    core: &Arc<Core>,
    group: &str,
    version: &str,
    resource: &str,
    namespace: &str,
    mut object: Value,
) -> Result<()> {
    let def = resources::find(group, version, resource).ok_or_else(Status::unknown_resource)?;
    object["apiVersion"] = json!(def.api_version());
    object["kind"] = json!(def.kind);
    let name = meta::name(&object).to_owned();
    if read::current(core, def, namespace, &name).await.is_ok() {
        return Ok(());
    }
    let write = Write::internal(core, def, namespace);
    machinery::default(&write.gvk(), &mut object);
    match write.create(object).await {
        Ok(_) => Ok(()),
        Err(error) if error.reason == "AlreadyExists" => Ok(()),
        Err(error) => Err(error),
    }
}

/// Creates a role or binding, or adds what a newer version of the policy has.
async fn role(core: &Arc<Core>, resource: &'static str, namespace: &str, object: Value) -> Result<()> {
    let def =
        resources::find("rbac.authorization.k8s.io", "v1", resource).ok_or_else(Status::unknown_resource)?;
    let name = meta::name(&object).to_owned();
    match read::current(core, def, namespace, &name).await {
        Err(error) if error.code == 404 => {
            ensure(
                core,
                "rbac.authorization.k8s.io",
                "v1",
                resource,
                namespace,
                object,
            )
            .await
        }
        Err(error) => Err(error),
        Ok(current) => {
            let current = current.to_value();
            let follows = meta::annotation(&current, policy::AUTOUPDATE) == Some("true");
            let Some(merged) = follows.then(|| policy::merged(&current, &object)).flatten() else {
                return Ok(());
            };
            let mut write = Write::internal(core, def, namespace);
            write.retry = true;
            write.change(&name, |_| Ok(merged.clone())).await.map(|_| ())
        }
    }
}

/// What extension API servers read to believe the same authorities.
async fn authentication(core: &Arc<Core>, authorities: &Authorities) -> Result<()> {
    let mut data = json!({"client-ca-file": authorities.client_ca});
    if !authorities.request_header_ca.is_empty() {
        data["requestheader-client-ca-file"] = json!(authorities.request_header_ca);
        let told = &authorities.request_header;
        for (key, list) in [
            ("requestheader-allowed-names", &told.requestheader_allowed_names),
            (
                "requestheader-extra-headers-prefix",
                &told.requestheader_extra_headers_prefix,
            ),
            ("requestheader-group-headers", &told.requestheader_group_headers),
            (
                "requestheader-username-headers",
                &told.requestheader_username_headers,
            ),
            ("requestheader-uid-headers", &told.requestheader_uid_headers),
        ] {
            data[key] = json!(json!(list).to_string());
        }
    }
    let object = json!({"metadata": {"name": "extension-apiserver-authentication"}, "data": data});
    put(core, "", "configmaps", "kube-system", object, "data").await
}

/// Creates an object, or makes one part of it what it should be.
async fn put(
    core: &Arc<Core>,
    group: &str,
    resource: &str,
    namespace: &str,
    object: Value,
    part: &str,
) -> Result<()> {
    let def = resources::find(group, "v1", resource).ok_or_else(Status::unknown_resource)?;
    let name = meta::name(&object).to_owned();
    if read::current(core, def, namespace, &name).await.is_err() {
        return ensure(core, group, "v1", resource, namespace, object).await;
    }
    let mut write = Write::internal(core, def, namespace);
    write.retry = true;
    write
        .change(&name, |old| {
            let mut new = old.clone();
            new[part] = object[part].clone();
            Ok(new)
        })
        .await
        .map(|_| ())
}

/// The subnet of Services' addresses; it is ready when nobody says otherwise.
/// Upstream: `pkg/controlplane/controller/defaultservicecidr`.
async fn service_cidr(core: &Arc<Core>) -> Result<()> {
    let def =
        resources::find("networking.k8s.io", "v1", "servicecidrs").ok_or_else(Status::unknown_resource)?;
    let cidrs = json!([core.settings.service_subnet.to_string()]);
    let cidr = json!({"metadata": {"name": "kubernetes"}, "spec": {"cidrs": cidrs}});
    ensure(core, "networking.k8s.io", "v1", "servicecidrs", "", cidr).await?;
    let mut status = Write::internal(core, def, "");
    status.sub = "status";
    status.retry = true;
    status.options.field_manager = "kubernetes-service-cidr-controller".into();
    let judged = |cidr: &Value| {
        let mut conditions = cidr["status"]["conditions"].as_array().into_iter().flatten();
        conditions.any(|c| c["type"] == "Ready" && c["status"] != "Unknown")
    };
    status
        .change("kubernetes", |old| {
            let mut new = old.clone();
            // Another subnet than this server's is for the administrator to mend.
            if !judged(old) && !meta::is_deleting(old) && old["spec"]["cidrs"] == cidrs {
                new["status"]["conditions"] = json!([{"type": "Ready", "status": "True", "reason": "",
                    "message": "Kubernetes default Service CIDR is ready", "lastTransitionTime": meta::now()}]);
            }
            Ok(new)
        })
        .await
        .map(|_| ())
}

/// The Service by which pods reach this server, and its endpoints.
async fn kubernetes_service(core: &Arc<Core>) -> Result<()> {
    let settings = &core.settings;
    let first = settings
        .service_subnet
        .hosts()
        .next()
        .unwrap_or(settings.service_subnet.addr())
        .to_string();
    service_cidr(core).await?;
    let labels = json!({"component": "apiserver", "provider": "kubernetes"});
    let service = json!({
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": labels},
        "spec": {
            "type": "ClusterIP", "clusterIP": first, "clusterIPs": [first], "sessionAffinity": "None",
            "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": settings.advertise_port}],
        },
    });
    ensure(core, "", "v1", "services", "default", service).await?;
    // Endpoints may not be loopback addresses: a server that listens only there has none.
    if settings.advertise_address.is_loopback() {
        return Ok(());
    }
    let address = settings.advertise_address.to_string();
    let endpoints = json!({
        "metadata": {"name": "kubernetes", "namespace": "default",
            "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
        "subsets": [{"addresses": [{"ip": address}],
            "ports": [{"name": "https", "port": settings.advertise_port, "protocol": "TCP"}]}],
    });
    put(core, "", "endpoints", "default", endpoints, "subsets").await?;
    let kind = if settings.advertise_address.is_ipv6() {
        "IPv6"
    } else {
        "IPv4"
    };
    let slice = json!({
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "addressType": kind,
        "endpoints": [{"addresses": [address], "conditions": {"ready": true}}],
        "ports": [{"name": "https", "port": settings.advertise_port, "protocol": "TCP"}],
    });
    put(
        core,
        "discovery.k8s.io",
        "endpointslices",
        "default",
        slice,
        "endpoints",
    )
    .await
}
