//! Services and their IPAddresses are brought together again: what a crash, an older server or somebody's
//! hand left without its counterpart.
//! Upstream: `pkg/registry/core/service/ipallocator/controller/repairip.go`.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use serde::Deserialize;

use super::{
    ranges,
    records::{self, Owner, RECORDS, Record},
};
use crate::{cacher::Obj, core::Core, error::Result};

const SERVICES: &str = "core/services";
/// How long changes are collected before they are looked at.
const COLLECT: Duration = Duration::from_secs(1);
/// How long what failed waits.
const AGAIN: Duration = Duration::from_secs(10);
/// How long the Service of a new record may be on its way, in seconds: as long as a request may take.
const ON_ITS_WAY: i64 = 60;
/// The same for a Service that gets another address, in seconds.
const CHANGING: i64 = 5;

/// A Service, as far as it matters here.
#[derive(Clone, Debug)]
struct Service {
    owner: Owner,
    created: Timestamp,
    addresses: Vec<IpAddr>,
}

impl Service {
    fn of(object: &Obj) -> Option<Service> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Metadata {
            creation_timestamp: Timestamp,
        }
        #[derive(Default, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        struct Spec {
            #[serde(rename = "clusterIPs")]
            cluster_ips: Vec<String>,
        }
        #[derive(Deserialize)]
        struct Read {
            metadata: Metadata,
            #[serde(default)]
            spec: Spec,
        }
        let read: Read = object.typed().ok()?;
        Some(Service {
            owner: Owner {
                namespace: object.namespace().to_owned(),
                name: object.name().to_owned(),
            },
            created: read.metadata.creation_timestamp,
            // A headless Service's is no address.
            addresses: read
                .spec
                .cluster_ips
                .iter()
                .filter_map(|ip| ip.parse().ok())
                .collect(),
        })
    }
}

/// What is to be done about one address.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// The Service has it and no record says so.
    Create(IpAddr, Owner),
    /// The record (its uid) says something else than it should.
    Recreate(IpAddr, String, Owner),
    /// The record (its uid) is of no Service.
    Delete(IpAddr, String),
}

/// What is to be done, and after how many seconds something may be that is not yet.
fn plan(
    services: &[Service],
    found: &[Record],
    is_covered: impl Fn(IpAddr) -> bool,
    now: Timestamp,
) -> (Vec<Step>, Option<i64>) {
    let by_address: HashMap<IpAddr, &Record> = found.iter().map(|record| (record.address, record)).collect();
    let by_owner: HashMap<&Owner, &Service> = services.iter().map(|s| (&s.owner, s)).collect();
    let has = |owner: &Owner, address: &IpAddr| {
        let service = by_owner.get(owner);
        service.map(|service| service.addresses.contains(address))
    };
    let mut steps = Vec::new();
    let mut settled = HashSet::new();
    for service in services {
        for address in service.addresses.iter().filter(|address| is_covered(**address)) {
            let Some(record) = by_address.get(address) else {
                steps.push(Step::Create(*address, service.owner.clone()));
                continue;
            };
            let is_wrong = match &record.owner {
                None => true,
                Some(owner) if *owner == service.owner => !record.is_labelled,
                // Two Services have it: who of them may is for the record to say.
                Some(owner) => has(owner, address).is_none(),
            };
            if is_wrong && settled.insert(*address) {
                steps.push(Step::Recreate(
                    *address,
                    record.uid.clone(),
                    service.owner.clone(),
                ));
            }
        }
    }
    let mut later: Option<i64> = None;
    for record in found
        .iter()
        .filter(|r| r.is_managed && !settled.contains(&r.address))
    {
        let age = now.as_second() - record.created.as_second();
        let wait = match &record.owner {
            None => 0,
            Some(owner) => match has(owner, &record.address) {
                Some(true) => continue,
                Some(false) if record.created > by_owner[owner].created => CHANGING - age,
                Some(false) => 0,
                None => ON_ITS_WAY - age,
            },
        };
        if wait <= 0 {
            steps.push(Step::Delete(record.address, record.uid.clone()));
        } else {
            later = Some(later.map_or(wait, |least| least.min(wait)));
        }
    }
    (steps, later)
}

/// Mends what there is to be mended; gives after how many seconds there may be more.
///
/// # Errors
/// Of the first write that fails for another reason than that somebody was faster.
pub(crate) async fn mend(core: &Arc<Core>) -> Result<Option<i64>> {
    let all = |resource: &str| core.cache.cacher(resource).map(|cacher| cacher.snapshot(0));
    // Records before Services: one that is being written is then missing at most, and not made twice; one
    // that is being deleted is an orphan at most, and deleted by whom it ought to be.
    let (found, services) = (all(RECORDS), all(SERVICES));
    let found: Vec<Record> = found
        .iter()
        .flat_map(|all| all.objects.values())
        .filter_map(|object| Record::of(object))
        .collect();
    let services: Vec<Service> = services
        .iter()
        .flat_map(|all| all.objects.values())
        .filter_map(|object| Service::of(object))
        .collect();
    let ranges = ranges::all(core);
    let is_covered = |address| ranges.iter().any(|range| range.contains(address));
    let (steps, later) = plan(&services, &found, is_covered, Timestamp::now());
    for step in steps {
        tracing::info!(?step, "a Service and its IPAddress do not agree; repairing");
        let done = match &step {
            Step::Create(address, owner) => records::create(core, *address, owner).await,
            Step::Delete(address, uid) => records::delete(core, *address, uid).await,
            Step::Recreate(address, uid, owner) => match records::delete(core, *address, uid).await {
                Ok(()) => records::create(core, *address, owner).await,
                failed => failed,
            },
        };
        match done {
            Err(error) if !matches!(error.code, 404 | 409) => return Err(error),
            _ => {}
        }
    }
    Ok(later)
}

/// Mends whenever Services or records have changed, until shutdown.
pub(crate) async fn run(core: Arc<Core>) {
    let changes = [SERVICES, RECORDS, ranges::CIDRS].map(|resource| core.cache.cacher(resource));
    let [Some(services), Some(found), Some(cidrs)] = changes else {
        return;
    };
    let (mut services, mut found, mut cidrs) = (services.changed(), found.changed(), cidrs.changed());
    loop {
        for changes in [&mut services, &mut found, &mut cidrs] {
            changes.mark_unchanged();
        }
        let later = mend(&core).await.unwrap_or_else(|error| {
            tracing::warn!(message = %error.message, "IPAddresses cannot be repaired");
            Some(AGAIN.as_secs() as i64)
        });
        let later = async {
            match later {
                // A record's age is all that is waited for: no event tells of it.
                Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds.unsigned_abs())).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = core.shutdown.cancelled() => return,
            () = later => {}
            Ok(()) = services.changed() => {}
            Ok(()) = found.changed() => {}
            Ok(()) = cidrs.changed() => {}
            else => return,
        }
        tokio::select! {
            () = core.shutdown.cancelled() => return,
            // Changes come in crowds, and what they come to is looked at once for all.
            () = tokio::time::sleep(COLLECT) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(name: &str) -> Owner {
        Owner {
            namespace: "default".into(),
            name: name.into(),
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn ip(last: u8) -> IpAddr {
        [10, 96, 0, last].into()
    }

    fn service(name: &str, addresses: &[IpAddr]) -> Service {
        Service {
            owner: owner(name),
            created: at(1000),
            addresses: addresses.to_vec(),
        }
    }

    fn record(address: IpAddr, of: Option<&str>, created: i64) -> Record {
        Record {
            address,
            uid: "u".into(),
            created: at(created),
            owner: of.map(owner),
            is_managed: true,
            is_labelled: true,
        }
    }

    #[test]
    fn each_address_of_a_service_has_its_record_and_no_other_has_one() {
        let one = [service("s", &[ip(1)])];
        let two = [service("s", &[ip(1)]), service("t", &[ip(1)])];
        let create = || vec![Step::Create(ip(1), owner("s"))];
        let recreate = || vec![Step::Recreate(ip(1), "u".into(), owner("s"))];
        let delete = |last| vec![Step::Delete(ip(last), "u".into())];
        let foreign = Record {
            is_managed: false,
            is_labelled: false,
            ..record(ip(2), None, 0)
        };
        let unlabelled = Record {
            is_managed: false,
            is_labelled: false,
            ..record(ip(1), Some("s"), 0)
        };
        let own = || record(ip(1), Some("s"), 999);
        type Case<'a> = (&'a str, &'a [Service], Vec<Record>, Vec<Step>, Option<i64>);
        let cases: [Case<'_>; 12] = [
            ("as it should be", &one, vec![own()], vec![], None),
            ("no record", &one, vec![], create(), None),
            ("of nothing", &one, vec![record(ip(1), None, 0)], recreate(), None),
            (
                "of a Service that is gone",
                &one,
                vec![record(ip(1), Some("gone"), 0)],
                recreate(),
                None,
            ),
            ("without its labels", &one, vec![unlabelled], recreate(), None),
            ("of the other of two", &two, vec![own()], vec![], None),
            ("somebody's own", &one, vec![own(), foreign], vec![], None),
            (
                "old and of no Service",
                &[],
                vec![record(ip(2), Some("s"), 1000)],
                delete(2),
                None,
            ),
            (
                "new and of no Service",
                &[],
                vec![record(ip(2), Some("s"), 1050)],
                vec![],
                Some(50),
            ),
            (
                "of a Service with another",
                &one,
                vec![own(), record(ip(2), Some("s"), 999)],
                delete(2),
                None,
            ),
            (
                "of a Service that is changing",
                &one,
                vec![own(), record(ip(2), Some("s"), 1058)],
                vec![],
                Some(3),
            ),
            (
                "out of every range",
                &[service("s", &[ip(200)])],
                vec![],
                vec![],
                None,
            ),
        ];
        for (what, services, found, steps, later) in cases {
            let planned = plan(services, &found, |address| address < ip(100), at(1060));
            assert_eq!(planned, (steps, later), "{what}");
        }
    }
}
