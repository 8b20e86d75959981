//! Every pod runs as a service account and gets its token.
//! Upstream: `plugin/pkg/admission/serviceaccount`.

use std::time::Duration;

use async_trait::async_trait;
use rkind_apimachinery::meta;
use serde_json::{Value, json};

use super::{Admit, Operation, Request, Validate};
use crate::error::Result;

const MOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const MIRROR: &str = "kubernetes.io/config.mirror";
/// How long a pod waits for its service account: it may be on its way in a new namespace.
const WAIT: Duration = Duration::from_secs(1);

pub(super) struct ServiceAccount;

#[async_trait]
impl Admit for ServiceAccount {
    fn name(&self) -> &'static str {
        "ServiceAccount"
    }

    async fn admit(&self, request: &mut Request<'_>) -> Result<()> {
        if !request.is("", "pods", Operation::Create) {
            return Ok(());
        }
        if meta::annotation(request.object, MIRROR).is_some() {
            return refuse_mirror(request);
        }
        let spec = &mut request.object["spec"];
        let named = spec["serviceAccountName"]
            .as_str()
            .filter(|n| !n.is_empty())
            .map(str::to_owned);
        let account_name = named.unwrap_or_else(|| "default".into());
        spec["serviceAccountName"] = json!(account_name);
        spec["serviceAccount"] = json!(account_name);
        let account = find(request, &account_name).await?.ok_or_else(|| {
            request.forbidden(&format!(
                "error looking up service account {}/{account_name}: serviceaccount {account_name:?} not found",
                request.namespace
            ))
        })?;
        let spec = &mut request.object["spec"];
        let wanted = spec["automountServiceAccountToken"]
            .as_bool()
            .or_else(|| account["automountServiceAccountToken"].as_bool())
            .unwrap_or(true);
        if wanted {
            mount(spec);
        }
        if spec["imagePullSecrets"].as_array().is_none_or(Vec::is_empty)
            && let Some(secrets) = account["imagePullSecrets"].as_array().filter(|s| !s.is_empty())
        {
            spec["imagePullSecrets"] = json!(secrets);
        }
        Ok(())
    }
}

#[async_trait]
impl Validate for ServiceAccount {
    fn name(&self) -> &'static str {
        "ServiceAccount"
    }

    async fn validate(&self, request: &Request<'_>) -> Result<()> {
        if request.is("", "pods", Operation::Create)
            && meta::annotation(request.object, MIRROR).is_none()
            && request.object["spec"]["serviceAccountName"]
                .as_str()
                .is_none_or(str::is_empty)
        {
            return Err(request.forbidden("no service account specified for pod"));
        }
        Ok(())
    }
}

fn refuse_mirror(request: &Request<'_>) -> Result<()> {
    let spec = &request.object["spec"];
    if spec["serviceAccountName"].as_str().is_some_and(|n| !n.is_empty()) {
        return Err(request.forbidden("a mirror pod may not reference service accounts"));
    }
    Ok(())
}

async fn find(request: &Request<'_>, name: &str) -> Result<Option<Value>> {
    let Some(accounts) = request.core.cache.cacher("core/serviceaccounts") else {
        return Ok(None);
    };
    let key = format!("{}/{name}", request.namespace);
    let mut changed = accounts.changed();
    if let Some(account) = accounts.get(&key) {
        return Ok(Some(account.to_value()));
    }
    request.core.cache.catch_up().await?;
    let deadline = tokio::time::Instant::now() + WAIT;
    loop {
        if let Some(account) = accounts.get(&key) {
            return Ok(Some(account.to_value()));
        }
        if !matches!(
            tokio::time::timeout_at(deadline, changed.changed()).await,
            Ok(Ok(()))
        ) {
            return Ok(None);
        }
    }
}

/// Adds the projected token volume and mounts it where nothing else is mounted.
fn mount(spec: &mut Value) {
    let volumes = spec["volumes"].as_array();
    let known = volumes
        .into_iter()
        .flatten()
        .filter_map(|v| v["name"].as_str())
        .find(|n| n.starts_with("kube-api-access-"))
        .map(str::to_owned);
    let name = known
        .clone()
        .unwrap_or_else(|| format!("kube-api-access-{}", meta::random_suffix(5)));
    let mut used = false;
    for list in ["initContainers", "containers"] {
        for container in spec
            .get_mut(list)
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            let mounts = container["volumeMounts"].as_array();
            if mounts.into_iter().flatten().any(|m| m["mountPath"] == MOUNT) {
                continue;
            }
            let mut mounts = mounts.cloned().unwrap_or_default();
            mounts.push(json!({"name": name, "mountPath": MOUNT, "readOnly": true}));
            container["volumeMounts"] = json!(mounts);
            used = true;
        }
    }
    if !used || known.is_some() {
        return;
    }
    let volume = json!({"name": name, "projected": {"defaultMode": 420, "sources": [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [
            {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
    ]}});
    match spec["volumes"].as_array_mut() {
        Some(volumes) => volumes.push(volume),
        None => spec["volumes"] = json!([volume]),
    }
}
