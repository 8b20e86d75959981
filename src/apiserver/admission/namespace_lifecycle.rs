//! Nothing is created in a namespace that is missing or terminating; some namespaces stay.
//! Upstream: `admission/plugin/namespace/lifecycle`.

use async_trait::async_trait;
use rkind_apimachinery::{
    meta::GroupResource,
    status::{Cause, Status},
};

use super::{Admit, Operation, Request, Validate};
use crate::error::Result;

const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

pub(super) struct NamespaceLifecycle;

#[async_trait]
impl Admit for NamespaceLifecycle {
    fn name(&self) -> &'static str {
        "NamespaceLifecycle"
    }

    async fn admit(&self, request: &mut Request<'_>) -> Result<()> {
        if request.is("", "namespaces", Operation::Delete) && IMMORTAL.contains(&request.name) {
            return Err(request.forbidden("this namespace may not be deleted"));
        }
        if !request.def.namespaced || request.operation != Operation::Create || !request.sub.is_empty() {
            return Ok(());
        }
        // Access reviews are questions, they need no namespace.
        if request.def.resource == "localsubjectaccessreviews" {
            return Ok(());
        }
        let namespace = match request.core.cached("core/namespaces", request.namespace) {
            Some(namespace) => namespace,
            None => {
                request.core.cache.catch_up().await?;
                let gr = GroupResource::new("", "namespaces");
                request
                    .core
                    .cached("core/namespaces", request.namespace)
                    .ok_or_else(|| Status::not_found(&gr, request.namespace))?
            }
        };
        let deleting = namespace.scalar(&["metadata", "deletionTimestamp"]).is_some();
        if !deleting && namespace.scalar(&["status", "phase"]).as_deref() != Some("Terminating") {
            return Ok(());
        }
        let why = format!(
            "unable to create new content in namespace {} because it is being terminated",
            request.namespace
        );
        let mut status = request.forbidden(&why);
        if let Some(details) = &mut status.details {
            details.causes.push(Cause {
                reason: "NamespaceTerminating".into(),
                message: format!("namespace {} is being terminated", request.namespace),
                field: "metadata.namespace".into(),
            });
        }
        Err(status)
    }
}

#[async_trait]
impl Validate for NamespaceLifecycle {
    fn name(&self) -> &'static str {
        "NamespaceLifecycle"
    }

    async fn validate(&self, _request: &Request<'_>) -> Result<()> {
        Ok(())
    }
}
