//! resource.k8s.io: claims of devices, classes, slices (upstream's `pkg/apis/resource/validation`).
//! Expressions are not compiled here.

mod slice;

use serde_json::Value;

use super::support::{conditions, immutable, list, required_one_of, text};
use crate::field::{Error, ErrorList, Path};
use crate::{meta, names};

/// Requests, constraints and configurations of a claim; alternatives of a request; selectors.
const MOST: usize = 32;
const MOST_ALTERNATIVES: usize = 8;
const MOST_CONSUMERS: usize = 256;
/// Bytes of a name without its domain.
const MOST_IN_ID: usize = 32;
/// Characters of an expression.
const LONGEST: usize = 10 * 1024;
const REFERENCE: &str =
    "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";

pub(super) fn create(kind: &str, o: &Value, errs: &mut ErrorList) {
    let path = Path::new("spec");
    let spec = &o["spec"];
    match kind {
        "ResourceClaim" => claim(&spec["devices"], &path.child("devices"), errs),
        "ResourceClaimTemplate" => {
            super::meta::claim_template(spec, &path.child("metadata"), errs);
            claim(
                &spec["spec"]["devices"],
                &path.child("spec").child("devices"),
                errs,
            );
        }
        "DeviceClass" => {
            selectors(&spec["selectors"], &path.child("selectors"), errs);
            sized(&spec["config"], MOST, &path.child("config"), errs);
            for (i, config) in list(&spec["config"]).iter().enumerate() {
                configuration(config, &path.child("config").index(i), errs);
            }
        }
        "ResourceSlice" => slice::check(spec, &path, errs),
        _ => {}
    }
}

pub(super) fn update(kind: &str, new: &Value, old: &Value, errs: &mut ErrorList) {
    let path = Path::new("spec");
    match kind {
        "ResourceClaim" => immutable(&new["spec"], &old["spec"], &path, errs),
        // Its strategy checks it as new, too.
        "ResourceClaimTemplate" => {
            create(kind, new, errs);
            immutable(&new["spec"], &old["spec"], &path, errs);
        }
        "ResourceSlice" => {
            create(kind, new, errs);
            for field in ["driver", "nodeName"] {
                immutable(&new["spec"][field], &old["spec"][field], &path.child(field), errs);
            }
            let pool = path.child("pool").child("name");
            immutable(
                &new["spec"]["pool"]["name"],
                &old["spec"]["pool"]["name"],
                &pool,
                errs,
            );
        }
        _ => create(kind, new, errs),
    }
}

/// Status of a claim.
pub(super) fn status(new: &Value, old: &Value, errs: &mut ErrorList) {
    let path = Path::new("status");
    let (n, o) = (&new["status"], &old["status"]);
    let reserved = path.child("reservedFor");
    sized(&n["reservedFor"], MOST_CONSUMERS, &reserved, errs);
    let mut seen: Vec<&str> = vec![];
    for (i, consumer) in list(&n["reservedFor"]).iter().enumerate() {
        let p = reserved.index(i);
        for field in ["resource", "name", "uid"] {
            if text(consumer, field).is_empty() {
                errs.push(Error::required(&p.child(field), ""));
            }
        }
        let uid = text(consumer, "uid");
        if seen.contains(&uid) {
            errs.push(Error::duplicate(&p, uid));
        }
        seen.push(uid);
    }
    allocated_devices(n, &path.child("devices"), errs);
    if !list(&n["reservedFor"]).is_empty() {
        let added = || {
            list(&n["reservedFor"])
                .iter()
                .any(|c| !list(&o["reservedFor"]).contains(c))
        };
        if !n["allocation"].is_object() {
            errs.push(Error::forbidden(
                &reserved,
                "may not be specified when `allocated` is not set",
            ));
        } else if meta::is_deleting(new) && added() {
            errs.push(Error::forbidden(
                &reserved,
                "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set",
            ));
        }
    }
    if n["allocation"].is_object() && o["allocation"].is_object() {
        immutable(
            &n["allocation"],
            &o["allocation"],
            &path.child("allocation"),
            errs,
        );
    } else if n["allocation"].is_object() {
        let known = request_names(&new["spec"]["devices"]);
        let results = path.child("allocation").child("devices").child("results");
        let configs = path.child("allocation").child("devices").child("config");
        for (i, c) in list(&n["allocation"]["devices"]["config"]).iter().enumerate() {
            let p = configs.index(i);
            required_one_of(
                &c["source"],
                &["FromClaim", "FromClass"],
                &p.child("source"),
                errs,
            );
            references(&c["requests"], &known, &p.child("requests"), errs);
            configuration(c, &p, errs);
        }
        let nodes = &n["allocation"]["nodeSelector"];
        if nodes.is_object() {
            super::pod::node_selector(nodes, &path.child("allocation").child("nodeSelector"), errs);
        }
        for (i, result) in list(&n["allocation"]["devices"]["results"]).iter().enumerate() {
            let p = results.index(i);
            reference(text(result, "request"), &known, &p.child("request"), errs);
            driver(text(result, "driver"), &p.child("driver"), errs);
            pool(text(result, "pool"), &p.child("pool"), errs);
            label(text(result, "device"), &p.child("device"), errs);
        }
    }
}

/// What drivers say of devices, each of which was allocated.
fn allocated_devices(status: &Value, path: &Path, errs: &mut ErrorList) {
    let id = |d: &'_ Value| ["driver", "pool", "device", "shareID"].map(|f| text(d, f).to_owned());
    let results = list(&status["allocation"]["devices"]["results"]);
    let all = list(&status["devices"]);
    for (i, d) in all.iter().enumerate() {
        let p = path.index(i);
        driver(text(d, "driver"), &p.child("driver"), errs);
        pool(text(d, "pool"), &p.child("pool"), errs);
        label(text(d, "device"), &p.child("device"), errs);
        let [driver, pool, device, share] = id(d);
        if !results.iter().any(|result| id(result) == id(d)) {
            let shown =
                serde_json::json!({"Driver": driver, "Pool": pool, "Device": device, "ShareID": share});
            errs.push(Error::invalid(
                &p,
                shown,
                "must be an allocated device in the claim",
            ));
        }
        conditions(&d["conditions"], &p.child("conditions"), errs);
        let data = &d["data"];
        if !data.is_null() && !data.is_object() {
            let why = "must be a valid JSON object";
            errs.push(Error::invalid(&p.child("data"), "<value omitted>", why));
        }
        if all[..i].iter().any(|other| id(other) == id(d)) {
            let [driver, pool, device, share] = id(d);
            let shown =
                serde_json::json!({"Driver": driver, "Pool": pool, "Device": device, "ShareID": share});
            errs.push(Error::duplicate(&p, shown));
        }
    }
}

fn sized(items: &Value, most: usize, path: &Path, errs: &mut ErrorList) {
    let count = list(items).len();
    if count > most {
        errs.push(Error::too_many(path, count, most));
    }
}

fn label(name: &str, path: &Path, errs: &mut ErrorList) {
    errs.invalid_each(path, name, names::dns1123_label(name));
}

fn required_subdomain(name: &str, path: &Path, errs: &mut ErrorList) {
    if name.is_empty() {
        errs.push(Error::required(path, ""));
    } else {
        errs.invalid_each(path, name, names::dns1123_subdomain(name));
    }
}

/// As a CSI driver's name: a subdomain of at most 63 characters.
fn driver(name: &str, path: &Path, errs: &mut ErrorList) {
    if name.len() > 63 {
        errs.push(Error::too_long(path, 63));
    }
    if name.is_empty() {
        errs.push(Error::required(path, ""));
        return;
    }
    errs.invalid_each(path, name, names::dns1123_subdomain(&name.to_lowercase()));
}

fn pool(name: &str, path: &Path, errs: &mut ErrorList) {
    if name.is_empty() {
        errs.push(Error::required(path, ""));
        return;
    }
    if name.len() > 253 {
        errs.push(Error::too_long(path, 253));
    }
    for part in name.split('/') {
        errs.invalid_each(path, part, names::dns1123_subdomain(part));
    }
}

/// `request` and `request/subrequest` of a claim.
fn request_names(devices: &Value) -> Vec<String> {
    let mut all = vec![];
    for request in list(&devices["requests"]) {
        let name = text(request, "name");
        all.push(name.to_owned());
        let alternatives = list(&request["firstAvailable"]).iter();
        all.extend(alternatives.map(|a| format!("{name}/{}", text(a, "name"))));
    }
    all
}

fn reference(name: &str, known: &[String], path: &Path, errs: &mut ErrorList) {
    let segments: Vec<&str> = name.split('/').collect();
    if segments.len() > 2 {
        errs.push(Error::invalid(path, name, REFERENCE));
        return;
    }
    for segment in segments {
        label(segment, path, errs);
    }
    if !known.iter().any(|k| k == name) {
        errs.push(Error::invalid(path, name, REFERENCE));
    }
}

fn references(items: &Value, known: &[String], path: &Path, errs: &mut ErrorList) {
    sized(items, MOST, path, errs);
    let mut seen: Vec<&Value> = vec![];
    for (i, item) in list(items).iter().enumerate() {
        reference(item.as_str().unwrap_or(""), known, &path.index(i), errs);
        if seen.contains(&item) {
            errs.push(Error::duplicate(&path.index(i), item.clone()));
        }
        seen.push(item);
    }
}

fn claim(devices: &Value, path: &Path, errs: &mut ErrorList) {
    let known = request_names(devices);
    let requests = path.child("requests");
    sized(&devices["requests"], MOST, &requests, errs);
    unique(&devices["requests"], &requests, errs);
    for (i, r) in list(&devices["requests"]).iter().enumerate() {
        request(r, &requests.index(i), errs);
    }
    let constraints = path.child("constraints");
    sized(&devices["constraints"], MOST, &constraints, errs);
    for (i, c) in list(&devices["constraints"]).iter().enumerate() {
        let p = constraints.index(i);
        references(&c["requests"], &known, &p.child("requests"), errs);
        match ["matchAttribute", "distinctAttribute"]
            .into_iter()
            .find(|f| c[*f].is_string())
        {
            Some(field) => fully_qualified(text(c, field), &p.child(field), errs),
            None => errs.push(Error::required(&p.child("matchAttribute"), "")),
        }
    }
    let configs = path.child("config");
    sized(&devices["config"], MOST, &configs, errs);
    for (i, c) in list(&devices["config"]).iter().enumerate() {
        let p = configs.index(i);
        references(&c["requests"], &known, &p.child("requests"), errs);
        configuration(c, &p, errs);
    }
}

fn unique(items: &Value, path: &Path, errs: &mut ErrorList) {
    let mut seen: Vec<&str> = vec![];
    for (i, item) in list(items).iter().enumerate() {
        let name = text(item, "name");
        if seen.contains(&name) {
            errs.push(Error::duplicate(&path.index(i), name));
        }
        seen.push(name);
    }
}

fn request(r: &Value, path: &Path, errs: &mut ErrorList) {
    label(text(r, "name"), &path.child("name"), errs);
    let alternatives = list(&r["firstAvailable"]);
    match (r["exactly"].is_object(), !alternatives.is_empty()) {
        (false, false) => errs.push(Error::required(
            path,
            "exactly one of `exactly` or `firstAvailable` is required",
        )),
        (true, true) => errs.push(Error::invalid(
            path,
            Value::Null,
            "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set",
        )),
        (true, false) => wanted(&r["exactly"], &path.child("exactly"), errs),
        (false, true) => {
            let p = path.child("firstAvailable");
            sized(&r["firstAvailable"], MOST_ALTERNATIVES, &p, errs);
            unique(&r["firstAvailable"], &p, errs);
            for (i, alternative) in alternatives.iter().enumerate() {
                label(text(alternative, "name"), &p.index(i).child("name"), errs);
                wanted(alternative, &p.index(i), errs);
            }
        }
    }
}

/// What one request, or one alternative of it, asks for.
fn wanted(r: &Value, path: &Path, errs: &mut ErrorList) {
    required_subdomain(text(r, "deviceClassName"), &path.child("deviceClassName"), errs);
    selectors(&r["selectors"], &path.child("selectors"), errs);
    let count = r["count"].as_i64().unwrap_or(0);
    let at = path.child("count");
    match text(r, "allocationMode") {
        "All" if count != 0 => errs.push(Error::invalid(
            &at,
            count,
            "must not be specified when allocationMode is 'All'",
        )),
        "ExactCount" if count <= 0 => errs.push(Error::invalid(&at, count, "must be greater than zero")),
        "All" | "ExactCount" => {}
        other => errs.push(Error::not_supported(
            &path.child("allocationMode"),
            other,
            &["All", "ExactCount"],
        )),
    }
}

fn selectors(items: &Value, path: &Path, errs: &mut ErrorList) {
    sized(items, MOST, path, errs);
    for (i, selector) in list(items).iter().enumerate() {
        let p = path.index(i).child("cel");
        let expression = text(&selector["cel"], "expression");
        if !selector["cel"].is_object() {
            errs.push(Error::required(&p, ""));
        } else if expression.len() > LONGEST {
            errs.push(Error::too_long(&p.child("expression"), LONGEST));
        }
    }
}

fn configuration(c: &Value, path: &Path, errs: &mut ErrorList) {
    let p = path.child("opaque");
    if c["opaque"].is_object() {
        driver(text(&c["opaque"], "driver"), &p.child("driver"), errs);
        let parameters = &c["opaque"]["parameters"];
        if parameters.is_null() {
            errs.push(Error::required(&p.child("parameters"), ""));
        } else if parameters.to_string().len() > LONGEST {
            errs.push(Error::too_long(&p.child("parameters"), LONGEST));
        } else if !parameters.is_object() {
            let why = "must be a valid JSON object";
            errs.push(Error::invalid(&p.child("parameters"), "<value omitted>", why));
        }
    } else {
        errs.push(Error::required(&p, ""));
    }
}

/// `name` or `domain/name`.
fn qualified(name: &str, path: &Path, errs: &mut ErrorList) {
    let identifier = |id: &str, errs: &mut ErrorList| {
        if id.len() > MOST_IN_ID {
            errs.push(Error::too_long(path, MOST_IN_ID));
        }
        errs.invalid_each(path, id, names::c_identifier(id));
    };
    match name.split('/').collect::<Vec<_>>()[..] {
        [id] => identifier(id, errs),
        [domain, id] => {
            if domain.is_empty() {
                errs.push(Error::invalid(path, "", "the domain must not be empty"));
            } else {
                driver(domain, path, errs);
            }
            if id.is_empty() {
                errs.push(Error::invalid(path, "", "the name must not be empty"));
            } else {
                identifier(id, errs);
            }
        }
        // Upstream lets more parts pass.
        _ => {}
    }
}

/// `domain/name`.
fn fully_qualified(name: &str, path: &Path, errs: &mut ErrorList) {
    qualified(name, path, errs);
    if !name.contains('/') {
        let why = "a fully qualified name must be a domain and a name separated by a slash";
        errs.push(Error::invalid(path, name, why));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(kind: &str, object: &Value) -> Vec<String> {
        let mut errs = ErrorList::new();
        create(kind, object, &mut errs);
        errs.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn claims() {
        let claim = |requests: Value| json!({"spec": {"devices": {"requests": requests}}});
        let exact = json!({"deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 1});
        assert!(found("ResourceClaim", &claim(json!([{"name": "a", "exactly": exact}]))).is_empty());
        let cases = [
            (
                json!([{"name": "a"}]),
                "spec.devices.requests[0]: Required value: exactly one of `exactly` or `firstAvailable` is required",
            ),
            (
                json!([{"name": "a", "exactly": {"deviceClassName": "gpu", "allocationMode": "All", "count": 1}}]),
                "spec.devices.requests[0].exactly.count: Invalid value: 1: must not be specified when allocationMode is 'All'",
            ),
            (
                json!([{"name": "a", "exactly": {"allocationMode": "ExactCount", "count": 1}}]),
                "spec.devices.requests[0].exactly.deviceClassName: Required value",
            ),
            (
                json!([{"name": "a", "exactly": exact}, {"name": "a", "exactly": exact}]),
                "spec.devices.requests[1]: Duplicate value: \"a\"",
            ),
        ];
        for (requests, error) in cases {
            assert_eq!(found("ResourceClaim", &claim(requests)), [error]);
        }
        let mut constrained = claim(json!([{"name": "a", "exactly": exact}]));
        constrained["spec"]["devices"]["constraints"] =
            json!([{"requests": ["b"], "matchAttribute": "x.y/z"}]);
        assert_eq!(
            found("ResourceClaim", &constrained),
            [format!(
                "spec.devices.constraints[0].requests[0]: Invalid value: \"b\": {REFERENCE}"
            )]
        );
    }

    #[test]
    fn a_claims_spec_stays_and_its_reservations_need_an_allocation() {
        let old = json!({"spec": {"devices": {}}});
        let mut new = old.clone();
        new["spec"]["devices"] = json!({"requests": []});
        let mut errs = ErrorList::new();
        update("ResourceClaim", &new, &old, &mut errs);
        assert!(
            errs.iter()
                .next()
                .unwrap()
                .to_string()
                .ends_with("field is immutable")
        );
        let mut reserved = old.clone();
        reserved["status"] = json!({"reservedFor": [{"resource": "pods", "name": "p", "uid": "u"}]});
        let mut errs = ErrorList::new();
        status(&reserved, &old, &mut errs);
        assert_eq!(
            errs.iter().next().unwrap().to_string(),
            "status.reservedFor: Forbidden: may not be specified when `allocated` is not set"
        );
    }

    #[test]
    fn a_slice_is_somewhere() {
        let slice = |place: Value| {
            let mut spec = json!({"driver": "d.example.com", "pool": {"name": "p", "generation": 0, "resourceSliceCount": 1}});
            for (key, value) in place.as_object().into_iter().flatten() {
                spec[key] = value.clone();
            }
            json!({ "spec": spec })
        };
        assert!(found("ResourceSlice", &slice(json!({"allNodes": true}))).is_empty());
        assert!(
            found("ResourceSlice", &slice(json!({})))[0].starts_with("spec: Required value: exactly one of")
        );
        assert!(
            found(
                "ResourceSlice",
                &slice(json!({"nodeName": "n", "allNodes": true}))
            )[0]
            .contains("multiple fields are set")
        );
    }
}
