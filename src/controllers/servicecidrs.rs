//! ServiceCIDRs are ready for addresses, and stay until no Service has one of theirs (KEP-1880).
//! Upstream: `pkg/controller/servicecidrs`.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use jiff::Timestamp;
use k8s_openapi::api::networking::v1::{IPAddress, ServiceCIDR};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{Api, ResourceExt as _};
use rkind_client::{Action, Change, ErrorExt, Informer, ObjectKey, WorkQueue, patch, run_workers};
use serde_json::json;

use crate::common::{Context, Outcome, now};

#[cfg(test)]
mod tests;

const FINALIZER: &str = "networking.k8s.io/service-cidr-finalizer";
const MANAGED_BY: &str = "ipaddress.kubernetes.io/managed-by";
const MANAGER: &str = "ipallocator.k8s.io";
/// Field manager of conditions.
const NAME: &str = "service-cidr-controller";
/// How long API servers may still give out addresses of a ServiceCIDR that is going.
const GRACE: Duration = Duration::from_secs(10);

/// What is to be done about a ServiceCIDR.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Keep,
    AddFinalizer,
    RemoveFinalizer,
    Wait(Duration),
    /// Status, reason and message of the condition `Ready`.
    Judge(&'static str, &'static str, &'static str),
}

fn subnets(cidr: &ServiceCIDR) -> impl Iterator<Item = IpNet> {
    let cidrs = cidr.spec.iter().flat_map(|spec| spec.cidrs.iter().flatten());
    cidrs.filter_map(|text| text.parse().ok())
}

/// Whether an address can come from a subnet: its first and, for IPv4, last one cannot.
fn gives(subnet: &IpNet, address: IpAddr) -> bool {
    let is_last = address.is_ipv4() && address == subnet.broadcast();
    subnet.contains(&address) && address != subnet.network() && !is_last
}

fn contains(cidr: &ServiceCIDR, address: IpAddr) -> bool {
    subnets(cidr).any(|subnet| gives(&subnet, address))
}

/// The address, if an API server gave it to a Service.
fn managed(record: &IPAddress) -> Option<IpAddr> {
    let manager = record.labels().get(MANAGED_BY)?;
    (manager == MANAGER).then(|| record.name_any().parse().ok())?
}

/// Whether no Service is left without a ServiceCIDR when this one goes.
fn is_dispensable(cidr: &ServiceCIDR, all: &[Arc<ServiceCIDR>], records: &[Arc<IPAddress>]) -> bool {
    let others = || all.iter().filter(|other| other.name_any() != cidr.name_any());
    let has_parent = |subnet: &IpNet| others().any(|other| subnets(other).any(|o| o.contains(subnet)));
    if subnets(cidr).all(|subnet| has_parent(&subnet)) {
        return true;
    }
    let mut addresses = records.iter().filter_map(|record| managed(record));
    !addresses.any(|address| contains(cidr, address) && !others().any(|other| contains(other, address)))
}

/// What is to be done about a ServiceCIDR; `at` is now.
fn step(cidr: &ServiceCIDR, all: &[Arc<ServiceCIDR>], records: &[Arc<IPAddress>], at: Timestamp) -> Step {
    let has_finalizer = cidr.finalizers().iter().any(|f| f == FINALIZER);
    let judge = |status, reason, message| {
        let conditions = cidr.status.iter().flat_map(|s| s.conditions.iter().flatten());
        let same = |c: &Condition| {
            (&*c.type_, &*c.status, &*c.reason, &*c.message) == ("Ready", status, reason, message)
        };
        match conditions.into_iter().any(same) {
            true => Step::Keep,
            false => Step::Judge(status, reason, message),
        }
    };
    let Some(deleted) = &cidr.metadata.deletion_timestamp else {
        if !has_finalizer {
            return Step::AddFinalizer;
        }
        return judge("True", "", "Kubernetes Service CIDR is ready");
    };
    if !is_dispensable(cidr, all, records) {
        return judge(
            "False",
            "Terminating",
            "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR",
        );
    }
    let gone = at.duration_since(deleted.0).unsigned_abs();
    match GRACE.checked_sub(gone).filter(|left| !left.is_zero()) {
        Some(left) => Step::Wait(left),
        None if has_finalizer => Step::RemoveFinalizer,
        None => Step::Keep,
    }
}

async fn reconcile(
    api: &Api<ServiceCIDR>,
    key: &ObjectKey,
    all: &Informer<ServiceCIDR>,
    records: &Informer<IPAddress>,
) -> Outcome {
    let Some(cidr) = all.get(key) else {
        return Ok(Action::Done);
    };
    let step = step(&cidr, &all.list(), &records.list(), Timestamp::now());
    let done = match step {
        Step::Keep => return Ok(Action::Done),
        Step::Wait(left) => return Ok(Action::RequeueAfter(left)),
        Step::AddFinalizer => {
            let body = json!({"metadata": {"finalizers": [FINALIZER]}});
            patch::strategic(api, &key.name, &body).await
        }
        Step::RemoveFinalizer => {
            let body = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": [FINALIZER]}});
            patch::strategic(api, &key.name, &body).await
        }
        Step::Judge(status, reason, message) => {
            let condition = json!({"type": "Ready", "status": status, "reason": reason, "message": message,
                "lastTransitionTime": now()});
            let body = json!({"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR",
                "metadata": {"name": key.name}, "status": {"conditions": [condition]}});
            patch::apply_status(api, &key.name, NAME, &body).await
        }
    };
    match done {
        Err(error) if !error.is_not_found() => Err(error.into()),
        _ => Ok(Action::Done),
    }
}

pub(crate) async fn run(context: Context) {
    let all: Informer<ServiceCIDR> = context.informers.get();
    let records: Informer<IPAddress> = context.informers.get();
    let queue = WorkQueue::new();
    // One that comes or goes may let others go, or hold them.
    let every = |cidrs: &Informer<ServiceCIDR>| -> Vec<ObjectKey> {
        cidrs.list().iter().map(|cidr| ObjectKey::of(&**cidr)).collect()
    };
    let cidrs = all.clone();
    context.feed(&all, &queue, move |change: &Change<ServiceCIDR>| {
        if change.old.is_some() && change.new.is_some() {
            return vec![change.key.clone()];
        }
        every(&cidrs)
    });
    let cidrs = all.clone();
    context.feed(&records, &queue, move |change: &Change<IPAddress>| {
        if change.old.is_some() && change.new.is_some() {
            return Vec::new();
        }
        let record = change.new.as_deref().or(change.old.as_deref());
        let Some(address) = record.and_then(managed) else {
            return Vec::new();
        };
        let cidrs = cidrs.list();
        let concerned = cidrs.iter().filter(|cidr| contains(cidr, address));
        concerned.map(|cidr| ObjectKey::of(&**cidr)).collect()
    });
    all.synced().await;
    records.synced().await;
    let world = Arc::new((Api::all(context.client.clone()), all, records));
    run_workers(queue, 1, context.shutdown.clone(), move |key: ObjectKey| {
        let world = world.clone();
        async move { reconcile(&world.0, &key, &world.1, &world.2).await }
    })
    .await;
}
