//! Every pod runs as a service account and gets its token.
//! Upstream: `plugin/pkg/admission/serviceaccount`.

use std::time::Duration;

use async_trait::async_trait;
use rkind_apimachinery::{field::quote, meta};
use serde_json::{Value, json};

use super::{Admit, Operation, Request, Validate, references};
use crate::error::Result;

const MOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const MIRROR: &str = "kubernetes.io/config.mirror";
/// An account with it names in `secrets` all that its pods may use.
const ENFORCE: &str = "kubernetes.io/enforce-mountable-secrets";
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
        let account = found(request, &account_name).await?;
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
        if (request.def.group, request.def.resource) != ("", "pods") {
            return Ok(());
        }
        let lists: &[_] = match (request.operation, request.sub) {
            (Operation::Create, "") => &[("initContainers", "init container"), ("containers", "container")],
            (Operation::Update, "ephemeralcontainers") => &[("ephemeralContainers", "ephemeral container")],
            _ => return Ok(()),
        };
        let spec = &request.object["spec"];
        let made = request.operation == Operation::Create;
        if made && meta::annotation(request.object, MIRROR).is_some() {
            return refuse_mirror(request);
        }
        let name = spec["serviceAccountName"].as_str().unwrap_or_default();
        if name.is_empty() {
            return Err(request.forbidden(&format!(
                "no service account specified for pod {}/{}",
                request.namespace,
                meta::name(request.object)
            )));
        }
        let account = found(request, name).await?;
        if !meta::annotation(&account, ENFORCE).is_some_and(parse_bool) {
            return Ok(());
        }
        match unlisted(spec, &account, lists, made) {
            Some(why) => Err(request.forbidden(&why)),
            None => Ok(()),
        }
    }
}

/// Go's `strconv.ParseBool`; what it does not know is false.
fn parse_bool(text: &str) -> bool {
    matches!(text, "1" | "t" | "T" | "true" | "TRUE" | "True")
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// The first secret that a pod names and its account does not list, as why that is not allowed. Volumes and
/// pull secrets are looked at with the pod as a whole (`whole`).
fn unlisted(spec: &Value, account: &Value, lists: &[(&str, &str)], whole: bool) -> Option<String> {
    let lists_it = |field: &str, name: &Value| items(&account[field]).any(|s| s["name"] == *name);
    let refused = |what: String, name: &Value| {
        (!lists_it("secrets", name)).then(|| {
            let (name, account) = (name.as_str().unwrap_or_default(), meta::name(account));
            format!("{what}secret.secretName=\"{name}\" is not allowed because service account {account} does not reference that secret")
        })
    };
    let volumes = items(&spec["volumes"])
        .filter(|v| whole && v["secret"].is_object())
        .find_map(|v| refused("volume with ".into(), &v["secret"]["secretName"]));
    if volumes.is_some() {
        return volumes;
    }
    for (list, word) in lists {
        for container in items(&spec[*list]) {
            let name = container["name"].as_str().unwrap_or_default();
            let variables = items(&container["env"]).filter_map(|env| {
                let secret = &env["valueFrom"]["secretKeyRef"];
                let variable = env["name"].as_str().unwrap_or_default();
                let what = format!("{word} {name} with envVar {variable} referencing ");
                secret.is_object().then(|| (what, &secret["name"]))
            });
            let sources = items(&container["envFrom"]).filter_map(|from| {
                let secret = &from["secretRef"];
                let what = format!("{word} {name} with envFrom referencing ");
                secret.is_object().then(|| (what, &secret["name"]))
            });
            let found = variables
                .chain(sources)
                .find_map(|(what, name)| refused(what, name));
            if found.is_some() {
                return found;
            }
        }
    }
    let mut pulls = items(&spec["imagePullSecrets"]).enumerate().filter(|_| whole);
    pulls
        .find(|(_, secret)| !lists_it("imagePullSecrets", &secret["name"]))
        .map(|(index, secret)| {
            let (name, account) = (secret["name"].as_str().unwrap_or_default(), meta::name(account));
            format!("imagePullSecrets[{index}].name=\"{name}\" is not allowed because service account {account} does not reference that imagePullSecret")
        })
}

fn refuse_mirror(request: &Request<'_>) -> Result<()> {
    let spec = &request.object["spec"];
    if spec["serviceAccountName"].as_str().is_some_and(|n| !n.is_empty()) {
        return Err(request.forbidden("a mirror pod may not reference service accounts"));
    }
    if references::secrets(spec) {
        return Err(request.forbidden("a mirror pod may not reference secrets"));
    }
    if references::projects(spec, "serviceAccountToken") {
        return Err(request.forbidden("a mirror pod may not use ServiceAccountToken volume projections"));
    }
    Ok(())
}

/// The account of this name.
///
/// # Errors
/// 403 when there is none.
async fn found(request: &Request<'_>, name: &str) -> Result<Value> {
    find(request, name).await?.ok_or_else(|| {
        request.forbidden(&format!(
            "error looking up service account {}/{name}: serviceaccount {} not found",
            request.namespace,
            quote(name)
        ))
    })
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
