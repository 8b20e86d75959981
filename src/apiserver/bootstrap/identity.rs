//! This server's own Lease: which API servers there are (KEP-1965).
//! Upstream: `pkg/controlplane/apiserver/server.go`.

use std::{sync::Arc, time::Duration};

use rkind_apimachinery::{
    meta,
    resources::{self, ResourceDef},
    status::Status,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::ensure;
use crate::{core::Core, error::Result, registry::create::Write, request::options::DeleteOptions};

const NAMESPACE: &str = "kube-system";
const LABEL: &str = "apiserver.kubernetes.io/identity";
const COMPONENT: &str = "kube-apiserver";
/// How long a server is taken for living after it has renewed its Lease, in seconds.
const LIVES: i64 = 3600;
const RENEW: Duration = Duration::from_secs(10);
/// How often Leases of servers that are gone are looked for.
const CLEAN: Duration = Duration::from_secs(3600);

/// Who this server is.
pub(crate) struct Identity {
    host: String,
    /// Of the Lease; the same after a restart.
    name: String,
    holder: String,
}

impl Identity {
    pub(crate) fn new() -> Self {
        let host = nix::unistd::gethostname().unwrap_or_default();
        let host = host.to_string_lossy().into_owned();
        let name = lease_name(&host);
        let holder = format!("{name}_{}", uuid::Uuid::new_v4());
        Identity { host, name, holder }
    }

    fn spec(&self) -> Value {
        let now = jiff::Timestamp::now();
        json!({"holderIdentity": self.holder, "leaseDurationSeconds": LIVES,
            "renewTime": now.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()})
    }

    /// Creates or renews the Lease.
    ///
    /// # Errors
    /// Those of any write.
    pub(crate) async fn renew(&self, core: &Arc<Core>) -> Result<()> {
        let def = def()?;
        let labels = json!({LABEL: COMPONENT, "kubernetes.io/hostname": self.host});
        let mut write = Write::internal(core, def, NAMESPACE);
        write.retry = true;
        let renewed = write
            .change(&self.name, |old| {
                let mut new = old.clone();
                new["spec"] = self.spec();
                for (key, value) in labels.as_object().into_iter().flatten() {
                    meta::child_object(&mut new["metadata"], "labels").insert(key.clone(), value.clone());
                }
                Ok(new)
            })
            .await;
        match renewed {
            Err(error) if error.code == 404 => {
                let lease = json!({"metadata": {"name": self.name, "namespace": NAMESPACE, "labels": labels},
                    "spec": self.spec()});
                ensure(core, def.group, def.version, def.resource, NAMESPACE, lease).await
            }
            other => other.map(|_| ()),
        }
    }

    /// Renews the Lease, and removes those of servers that are gone, until shutdown.
    pub(crate) async fn keep(self, core: Arc<Core>) {
        let after = |period| tokio::time::interval_at(tokio::time::Instant::now() + period, period);
        let (mut renew, mut clean) = (after(RENEW), after(CLEAN));
        loop {
            let done = tokio::select! {
                () = core.shutdown.cancelled() => return,
                _ = renew.tick() => self.renew(&core).await,
                _ = clean.tick() => clean_up(&core, jiff::Timestamp::now()).await,
            };
            if let Err(status) = done {
                tracing::warn!(message = %status.message, "cannot keep the Leases of API servers");
            }
        }
    }
}

fn def() -> Result<&'static ResourceDef> {
    let def = resources::find("coordination.k8s.io", "v1", "leases");
    def.ok_or_else(|| Status::unknown_resource().into())
}

/// By the machine and by what runs there: other kinds of servers may have such Leases, too.
fn lease_name(host: &str) -> String {
    let mut hash = Sha256::new();
    for part in [host, COMPONENT] {
        hash.update((part.len() as u16).to_be_bytes());
        hash.update(part);
    }
    format!("apiserver-{}", base32(&hash.finalize()[..16]))
}

/// RFC 4648 without padding, in lower case.
fn base32(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let bits: String = bytes.iter().map(|byte| format!("{byte:08b}")).collect();
    let quintets = bits.as_bytes().chunks(5);
    quintets
        .map(|bits| {
            let number = bits.iter().fold(0, |sum, bit| sum * 2 + usize::from(bit - b'0'));
            char::from(DIGITS[number << (5 - bits.len())])
        })
        .collect()
}

/// Whether a Lease says that its server has not renewed it for as long as it should.
fn is_over(lease: &Value, now: jiff::Timestamp) -> bool {
    let lives = lease["spec"]["leaseDurationSeconds"].as_i64();
    let renewed = lease["spec"]["renewTime"]
        .as_str()
        .and_then(|t| t.parse::<jiff::Timestamp>().ok());
    match (lives, renewed) {
        (Some(lives), Some(renewed)) => renewed.as_second() + lives < now.as_second(),
        _ => true,
    }
}

async fn clean_up(core: &Arc<Core>, now: jiff::Timestamp) -> Result<()> {
    let def = def()?;
    let Some(leases) = core.cache.cacher(def.storage_prefix) else {
        return Ok(());
    };
    let snapshot = leases.snapshot(0);
    for lease in snapshot.range(&format!("{NAMESPACE}/"), None) {
        if lease.labels().get(LABEL) != Some(COMPONENT) || !is_over(&lease.to_value(), now) {
            continue;
        }
        let options = DeleteOptions {
            precondition_version: Some(lease.revision.to_string()),
            ..Default::default()
        };
        let write = Write::internal(core, def, NAMESPACE);
        match write.delete(lease.name(), &options).await {
            Err(error) if !matches!(error.code, 404 | 409) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_upstreams() {
        // kube-apiserver's own on a machine called `vm`.
        assert_eq!(lease_name("vm"), "apiserver-wlv32tlttr4jl3gtroqexyxapa");
    }

    #[test]
    fn a_silent_server_is_gone_after_an_hour() {
        let lease =
            json!({"spec": {"leaseDurationSeconds": 3600, "renewTime": "2026-01-01T00:00:00.000000Z"}});
        let at = |text: &str| text.parse().unwrap();
        assert!(!is_over(&lease, at("2026-01-01T00:59:59Z")));
        assert!(is_over(&lease, at("2026-01-01T01:00:01Z")));
        assert!(is_over(&json!({}), at("2026-01-01T00:00:00Z")));
    }
}
