//! IPAddress objects: which Service has an address.
//! Upstream: `pkg/registry/core/service/ipallocator/ipallocator.go`.

use std::{net::IpAddr, sync::Arc};

use futures::future::BoxFuture;
use jiff::Timestamp;
use rkind_apimachinery::{
    meta,
    resources::{self, ResourceDef},
    status::Status,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    cacher::Obj, core::Core, error::Result, registry::create::Write, request::options::DeleteOptions,
};

/// Storage prefix of IPAddresses.
pub(super) const RECORDS: &str = "networking.k8s.io/ipaddresses";
const FAMILY: &str = "ipaddress.kubernetes.io/ip-family";
const MANAGED_BY: &str = "ipaddress.kubernetes.io/managed-by";
const MANAGER: &str = "ipallocator.k8s.io";

/// A Service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Owner {
    pub namespace: String,
    pub name: String,
}

impl Owner {
    pub(super) fn of(service: &Value) -> Self {
        Owner {
            namespace: meta::namespace(service).to_owned(),
            name: meta::name(service).to_owned(),
        }
    }
}

/// An IPAddress, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub address: IpAddr,
    pub uid: String,
    pub created: Timestamp,
    /// `None` for what belongs to something else than a Service.
    pub owner: Option<Owner>,
    /// Made by an API server for a Service.
    pub is_managed: bool,
    /// Its labels are those of [`object`].
    pub is_labelled: bool,
}

impl Record {
    /// `None` for an object whose name is no address, which validation lets nobody make.
    pub(super) fn of(object: &Obj) -> Option<Record> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Metadata {
            uid: String,
            creation_timestamp: Timestamp,
        }
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Parent {
            group: String,
            resource: String,
            namespace: String,
            name: String,
        }
        #[derive(Default, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        struct Spec {
            parent_ref: Parent,
        }
        #[derive(Deserialize)]
        struct IpAddress {
            metadata: Metadata,
            #[serde(default)]
            spec: Spec,
        }
        let address: IpAddr = object.name().parse().ok()?;
        let read: IpAddress = object.typed().ok()?;
        let Parent {
            group,
            resource,
            namespace,
            name,
        } = read.spec.parent_ref;
        let is_service = group.is_empty() && resource == "services";
        let labels = object.labels();
        let is_managed = labels.get(MANAGED_BY) == Some(MANAGER);
        Some(Record {
            address,
            uid: read.metadata.uid,
            created: read.metadata.creation_timestamp,
            owner: is_service.then_some(Owner { namespace, name }),
            is_managed,
            is_labelled: is_managed && labels.get(FAMILY) == Some(family(address)),
        })
    }
}

fn family(address: IpAddr) -> &'static str {
    if address.is_ipv6() { "IPv6" } else { "IPv4" }
}

/// Whether an address is recorded, by whomever.
pub(super) fn exists(core: &Core, address: IpAddr) -> bool {
    core.cached(RECORDS, &address.to_string()).is_some()
}

fn def() -> Result<&'static ResourceDef> {
    let def = resources::find("networking.k8s.io", "v1", "ipaddresses");
    def.ok_or_else(|| Status::unknown_resource().into())
}

/// Admission was asked about the Service that the record is of.
fn write(core: &Arc<Core>, def: &'static ResourceDef) -> Write {
    let mut write = Write::internal(core, def, "");
    write.admitted = true;
    write
}

/// Records that a Service has an address. Boxed, as it is a write within a write.
///
/// # Errors
/// 409 when the address is recorded already, and those of any write.
pub(super) fn create<'a>(
    core: &'a Arc<Core>,
    address: IpAddr,
    owner: &'a Owner,
) -> BoxFuture<'a, Result<()>> {
    Box::pin(async move {
        let def = def()?;
        let labels = json!({FAMILY: family(address), MANAGED_BY: MANAGER});
        let parent = json!({"resource": "services", "namespace": owner.namespace, "name": owner.name});
        let object = json!({"apiVersion": def.api_version(), "kind": def.kind,
            "metadata": {"name": address.to_string(), "labels": labels},
            "spec": {"parentRef": parent}});
        write(core, def).create(object).await.map(|_| ())
    })
}

/// Deletes a record, if it still is the one with this uid. Boxed as [`create`].
///
/// # Errors
/// 404, 409, and those of any write.
pub(super) fn delete<'a>(core: &'a Arc<Core>, address: IpAddr, uid: &'a str) -> BoxFuture<'a, Result<()>> {
    Box::pin(async move {
        let options = DeleteOptions {
            precondition_uid: Some(uid.to_owned()),
            ..Default::default()
        };
        let deleted = write(core, def()?).delete(&address.to_string(), &options).await;
        deleted.map(|_| ())
    })
}

/// Deletes the records that say that a Service has these addresses. One that stays is left to
/// [`super::repair`].
pub(super) async fn delete_all(core: &Arc<Core>, addresses: &[IpAddr], owner: &Owner) {
    for address in addresses {
        let done = async {
            let found = crate::registry::read::current(core, def()?, "", &address.to_string()).await?;
            match Record::of(&found) {
                Some(record) if record.owner.as_ref() == Some(owner) => {
                    delete(core, *address, &record.uid).await
                }
                _ => Ok(()),
            }
        };
        match done.await {
            Err(error) if error.code != 404 => {
                tracing::warn!(%address, message = %error.message, "the IPAddress of a Service stays");
            }
            _ => {}
        }
    }
}
