//! Selectable fields of each resource. Upstream: each registry's `GetAttrs` / `ToSelectableFields`
//! and the field label conversions of the API groups.

use rkind_apimachinery::json::Place;

use super::object::Text;

/// A selectable field beside `metadata.name` and `metadata.namespace`.
#[derive(Debug)]
pub(crate) struct Selectable {
    /// As written in a selector.
    pub name: &'static str,
    /// Where it stands in the stored object.
    pub path: &'static [&'static str],
    /// Where it stands when `path` has nothing or an empty text; empty: nowhere else.
    pub other: &'static [&'static str],
    /// Its value when absent.
    pub default: &'static str,
}

macro_rules! table {
    ($($name:literal = $($seg:literal).+ $(else $($other:literal).+)? $(or $default:literal)?),* $(,)?) => {
        &[$(Selectable {
            name: $name,
            path: &[$($seg),+],
            other: &[$($($other),+)?],
            default: table!(@ $($default)?),
        }),*]
    };
    (@) => { "" };
    (@ $default:literal) => { $default };
}

const PODS: &[Selectable] = table![
    "spec.nodeName" = "spec"."nodeName",
    "spec.restartPolicy" = "spec"."restartPolicy",
    "spec.schedulerName" = "spec"."schedulerName",
    "spec.serviceAccountName" = "spec"."serviceAccountName",
    "spec.hostNetwork" = "spec"."hostNetwork" or "false",
    "status.phase" = "status"."phase",
    "status.podIP" = "status"."podIP",
    "status.nominatedNodeName" = "status"."nominatedNodeName",
];
const EVENTS: &[Selectable] = table![
    "involvedObject.kind" = "involvedObject"."kind",
    "involvedObject.namespace" = "involvedObject"."namespace",
    "involvedObject.name" = "involvedObject"."name",
    "involvedObject.uid" = "involvedObject"."uid",
    "involvedObject.apiVersion" = "involvedObject"."apiVersion",
    "involvedObject.resourceVersion" = "involvedObject"."resourceVersion",
    "involvedObject.fieldPath" = "involvedObject"."fieldPath",
    "reason" = "reason",
    "reportingComponent" = "reportingComponent",
    "source" = "source"."component" else "reportingComponent",
    "type" = "type",
    "regarding.kind" = "involvedObject"."kind",
    "regarding.namespace" = "involvedObject"."namespace",
    "regarding.name" = "involvedObject"."name",
    "regarding.uid" = "involvedObject"."uid",
    "regarding.apiVersion" = "involvedObject"."apiVersion",
    "regarding.resourceVersion" = "involvedObject"."resourceVersion",
    "regarding.fieldPath" = "involvedObject"."fieldPath",
    "reportingController" = "reportingComponent",
];

/// Selectable fields of a storage prefix.
pub(crate) fn table(resource: &str) -> &'static [Selectable] {
    match resource {
        "core/pods" => PODS,
        "core/events" => EVENTS,
        "core/nodes" => table!["spec.unschedulable" = "spec"."unschedulable" or "false"],
        "core/namespaces" => table!["status.phase" = "status"."phase", "name" = "metadata"."name"],
        "core/secrets" => table!["type" = "type"],
        "core/services" => {
            table!["spec.clusterIP" = "spec"."clusterIP", "spec.type" = "spec"."type"]
        }
        "core/replicationcontrollers" => table!["status.replicas" = "status"."replicas" or "0"],
        "apps/replicasets" => table!["status.replicas" = "status"."replicas" or "0"],
        "batch/jobs" => table!["status.successful" = "status"."succeeded" or "0"],
        "certificates.k8s.io/certificatesigningrequests" => {
            table!["spec.signerName" = "spec"."signerName"]
        }
        "certificates.k8s.io/clustertrustbundles" => table!["spec.signerName" = "spec"."signerName"],
        "certificates.k8s.io/podcertificaterequests" => table![
            "spec.signerName" = "spec"."signerName",
            "spec.podName" = "spec"."podName",
            "spec.nodeName" = "spec"."nodeName",
        ],
        "resource.k8s.io/resourceslices" => {
            table!["spec.nodeName" = "spec"."nodeName", "spec.driver" = "spec"."driver"]
        }
        _ => &[],
    }
}

/// Values of the fields of [`table`] for one object; `None` where the default holds.
pub(super) fn extract(resource: &str, root: Place<'_>) -> Box<[Option<Text>]> {
    let at = |path: &[&str]| path.iter().try_fold(root, |at, step| at.get(step));
    let find = |field: &Selectable| {
        let own = at(field.path).filter(|place| field.other.is_empty() || place.raw() != "\"\"");
        // No other path leads to the object itself, which is no text.
        Text::of(own.or_else(|| at(field.other))?)
    };
    table(resource).iter().map(find).collect()
}

/// Value of a selectable field; `None` when the resource has no such field.
pub(crate) fn value<'a>(resource: &str, object: &'a super::Obj, field: &str) -> Option<&'a str> {
    match field {
        "metadata.name" => Some(object.name()),
        "metadata.namespace" => Some(object.namespace()),
        _ => {
            let table = table(resource);
            let at = table.iter().position(|f| f.name == field)?;
            let known = object.fields.get(at)?.as_ref();
            Some(known.map_or(table[at].default, |text| text.get(object.stored())))
        }
    }
}
