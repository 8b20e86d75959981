//! Who makes others wait for the deletion of an object may delete, or finalize, what they wait for.
//! Upstream: `plugin/pkg/admission/gc`.

use async_trait::async_trait;
use rkind_apimachinery::meta::Gvk;
use serde_json::Value;

use super::{Operation, Request, Validate};
use crate::{authz::Attributes, error::Result};

pub(super) struct OwnerReferencesPermissionEnforcement;

fn references(object: &Value) -> &[Value] {
    object["metadata"]["ownerReferences"]
        .as_array()
        .map_or(&[], Vec::as_slice)
}

fn is_blocking(reference: &Value) -> bool {
    reference["blockOwnerDeletion"] == true
}

/// References that block their owner's deletion and did not before.
fn newly_blocking<'a>(new: &'a Value, old: Option<&'a Value>) -> impl Iterator<Item = &'a Value> {
    let known = old.map(references).unwrap_or_default();
    references(new).iter().filter(move |reference| {
        let before = known.iter().find(|k| k["uid"] == reference["uid"]);
        is_blocking(reference) && !before.is_some_and(is_blocking)
    })
}

impl OwnerReferencesPermissionEnforcement {
    /// Why the user may not, if so.
    async fn refusal(request: &Request<'_>, wanted: Attributes) -> Option<String> {
        let decision = request.core.authorizer.decide(request.user, &wanted).await;
        (!decision.allowed()).then(|| decision.reason().to_owned())
    }

    /// The rights to finalize an owner, one for each resource that it may be of.
    fn finalize(request: &Request<'_>, reference: &Value) -> Vec<Attributes> {
        let owner = Gvk::of(reference);
        let catalog = request.core.catalog.now();
        let named = catalog.of(&owner.group, &owner.version);
        named
            .filter(|def| def.kind == owner.kind && def.has_verb("get"))
            .map(|def| Attributes {
                verb: "update".into(),
                // An owner that is in a namespace is in its dependent's.
                namespace: if def.namespaced {
                    request.namespace.into()
                } else {
                    String::new()
                },
                group: def.group.into(),
                version: def.version.into(),
                resource: def.resource.into(),
                subresource: "finalizers".into(),
                name: reference["name"].as_str().unwrap_or_default().into(),
                is_resource: true,
                ..Default::default()
            })
            .collect()
    }
}

#[async_trait]
impl Validate for OwnerReferencesPermissionEnforcement {
    fn name(&self) -> &'static str {
        "OwnerReferencesPermissionEnforcement"
    }

    async fn validate(&self, request: &Request<'_>) -> Result<()> {
        let is_written = matches!(request.operation, Operation::Create | Operation::Update);
        // A pod's status changes no references, whatever is sent.
        let is_exempt =
            request.def.group.is_empty() && (request.def.resource, request.sub) == ("pods", "status");
        let before = request.old.map(references).unwrap_or_default();
        if !is_written || is_exempt || references(request.object) == before {
            return Ok(());
        }
        if request.operation != Operation::Create {
            let delete = Attributes {
                verb: "delete".into(),
                namespace: request.namespace.into(),
                group: request.def.group.into(),
                version: request.def.version.into(),
                resource: request.def.resource.into(),
                subresource: request.sub.into(),
                name: request.name.into(),
                is_resource: true,
                ..Default::default()
            };
            if let Some(why) = Self::refusal(request, delete).await {
                let why = format!("cannot set an ownerRef on a resource you can't delete: {why}, <nil>");
                return Err(request.forbidden(&why));
            }
        }
        let mut blocking = newly_blocking(request.object, request.old).peekable();
        if blocking.peek().is_none() {
            return Ok(());
        }
        let anything = Attributes {
            verb: "update".into(),
            group: "*".into(),
            version: "*".into(),
            resource: "*".into(),
            subresource: "finalizers".into(),
            name: "*".into(),
            is_resource: true,
            ..Default::default()
        };
        if Self::refusal(request, anything).await.is_none() {
            return Ok(());
        }
        for reference in blocking {
            let rights = Self::finalize(request, reference);
            if rights.is_empty() {
                let text = |field: &str| reference[field].as_str().unwrap_or_default();
                let (version, kind) = (text("apiVersion"), text("kind"));
                let why = format!(
                    "cannot set blockOwnerDeletion in this case because cannot find RESTMapping for APIVersion {version} Kind {kind}: no matches for kind {kind:?} in version {version:?}"
                );
                return Err(request.forbidden(&why));
            }
            for right in rights {
                if let Some(why) = Self::refusal(request, right).await {
                    let why = format!(
                        "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on: {why}, <nil>"
                    );
                    return Err(request.forbidden(&why));
                }
            }
        }
        Ok(())
    }
}
