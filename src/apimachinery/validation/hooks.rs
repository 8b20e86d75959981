//! Webhooks of admission: who is asked, and about what
//! (upstream's `pkg/apis/admissionregistration/validation`).

use serde_json::Value;

use super::support::{list, one_if_given, text};
use crate::field::{Error, ErrorList, Path};
use crate::names;

const FORM: &str = "; desired format: https://host[/path]";

/// A `clientConfig`.
pub(super) fn client(config: &Value, path: &Path, errs: &mut ErrorList) {
    if config["url"].is_null() == config["service"].is_null() {
        errs.push(Error::required(path, "exactly one of url or service is required"));
        return;
    }
    if config["service"].is_object() {
        service(&config["service"], &path.child("service"), errs);
    } else {
        url(text(config, "url"), &path.child("url"), errs);
    }
}

fn url(url: &str, path: &Path, errs: &mut ErrorList) {
    let Some((scheme, rest)) = url.split_once("://") else {
        for why in ["'https' is the only allowed URL scheme", "host must be specified"] {
            errs.push(Error::invalid(path, "", format!("{why}{FORM}")));
        }
        return;
    };
    if scheme != "https" {
        let why = format!("'https' is the only allowed URL scheme{FORM}");
        errs.push(Error::invalid(path, scheme, why));
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    if host.is_empty() {
        errs.push(Error::invalid(
            path,
            host,
            format!("host must be specified{FORM}"),
        ));
    }
    if !user.is_empty() {
        errs.push(Error::invalid(
            path,
            user,
            "user information is not permitted in the URL",
        ));
    }
    let (tail, fragment) = tail.split_once('#').unwrap_or((tail, ""));
    if !fragment.is_empty() {
        errs.push(Error::invalid(
            path,
            fragment,
            "fragments are not permitted in the URL",
        ));
    }
    if let Some((_, query)) = tail.split_once('?').filter(|(_, query)| !query.is_empty()) {
        errs.push(Error::invalid(
            path,
            query,
            "query parameters are not permitted in the URL",
        ));
    }
}

fn service(service: &Value, path: &Path, errs: &mut ErrorList) {
    // Upstream's callers confuse the two.
    for (field, shown) in [("name", "namespace"), ("namespace", "name")] {
        if text(service, field).is_empty() {
            errs.push(Error::required(&path.child(shown), ""));
        }
    }
    if let Some(port) = service["port"].as_i64().filter(|p| !(1..=65535).contains(p)) {
        let range = names::inclusive_range_error(1, 65535);
        errs.push(Error::invalid(
            &path.child("port"),
            port,
            format!("port is not valid: {range}"),
        ));
    }
    let (at, value) = (path.child("path"), text(service, "path"));
    if value.is_empty() || value == "/" {
        return;
    }
    if value == "//" {
        errs.push(Error::invalid(&at, value, "segment[0] may not be empty"));
    } else {
        if !value.starts_with('/') {
            errs.push(Error::invalid(&at, value, "must start with a '/'"));
        }
        // The first byte goes, whatever it is.
        let rest = value.get(1..).unwrap_or_default();
        let inner = rest.strip_suffix('/').unwrap_or(rest);
        for (i, segment) in inner.split('/').enumerate() {
            if segment.is_empty() {
                let why = format!("segment[{i}] may not be empty");
                errs.push(Error::invalid(&at, value, why));
                continue;
            }
            for why in names::dns1123_subdomain(segment) {
                errs.push(Error::invalid(&at, value, format!("segment[{i}]: {why}")));
            }
        }
    }
}

/// `admissionReviewVersions`.
pub(super) fn versions(hook: &Value, path: &Path, errs: &mut ErrorList) {
    let all = list(&hook["admissionReviewVersions"]);
    if all.is_empty() {
        errs.push(Error::required(path, "must specify one of v1, v1beta1"));
        return;
    }
    let mut seen: Vec<&str> = vec![];
    for (i, version) in all.iter().enumerate() {
        let version = version.as_str().unwrap_or("");
        let p = path.index(i);
        if seen.contains(&version) {
            errs.push(Error::invalid(&p, version, "duplicate version"));
            continue;
        }
        errs.invalid_each(&p, version, names::dns1035_label(version));
        seen.push(version);
    }
    if !seen.iter().any(|version| matches!(*version, "v1" | "v1beta1")) {
        errs.push(Error::invalid(
            path,
            hook["admissionReviewVersions"].clone(),
            "must include at least one of v1, v1beta1",
        ));
    }
}

/// `rules`.
pub(super) fn rules(hook: &Value, path: &Path, errs: &mut ErrorList) {
    for (i, rule) in list(&hook["rules"]).iter().enumerate() {
        let p = path.index(i);
        let operations = p.child("operations");
        alone(rule, "operations", "operations", &p, errs);
        for (j, operation) in list(&rule["operations"]).iter().enumerate() {
            let allowed = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
            if !allowed.iter().any(|known| operation == known) {
                errs.push(Error::not_supported(
                    &operations.index(j),
                    operation.clone(),
                    &allowed,
                ));
            }
        }
        alone(rule, "apiGroups", "API groups", &p, errs);
        alone(rule, "apiVersions", "API versions", &p, errs);
        for (j, version) in list(&rule["apiVersions"]).iter().enumerate() {
            if version == "" {
                errs.push(Error::required(&p.child("apiVersions").index(j), ""));
            }
        }
        resources(rule, &p.child("resources"), errs);
        let scopes = &["*", "Cluster", "Namespaced"];
        one_if_given(&rule["scope"], scopes, &p.child("scope"), errs);
    }
}

/// A list that must have something; `*` stands alone in it.
fn alone(rule: &Value, field: &str, words: &str, path: &Path, errs: &mut ErrorList) {
    let items = list(&rule[field]);
    let p = path.child(field);
    if items.is_empty() {
        errs.push(Error::required(&p, ""));
    } else if items.len() > 1 && items.iter().any(|item| item == "*") {
        let why = format!("if '*' is present, must not specify other {words}");
        errs.push(Error::invalid(&p, rule[field].clone(), why));
    }
}

fn resources(rule: &Value, path: &Path, errs: &mut ErrorList) {
    let items = list(&rule["resources"]);
    if items.is_empty() {
        errs.push(Error::required(path, ""));
    }
    let all: Vec<&str> = items.iter().map(|item| item.as_str().unwrap_or("")).collect();
    for (i, item) in all.iter().enumerate() {
        let p = path.index(i);
        let (resource, sub) = item.split_once('/').unwrap_or((item, ""));
        if item.is_empty() {
            errs.push(Error::required(&p, ""));
        } else if *item == "*/*" && all.len() > 1 {
            errs.push(Error::invalid(
                path,
                rule["resources"].clone(),
                "if '*/*' is present, must not specify other resources",
            ));
        } else if *item == "*" && all.iter().any(|other| *other != "*" && !other.contains('/')) {
            errs.push(Error::invalid(
                path,
                rule["resources"].clone(),
                "if '*' is present, must not specify other resources without subresources",
            ));
        } else if !sub.is_empty() {
            let star = format!("{resource}/*");
            let any = format!("*/{sub}");
            if *item != star && all.contains(&star.as_str()) {
                let why = format!("if '{star}' is present, must not specify {item}");
                errs.push(Error::invalid(&p, *item, why));
            } else if *item != any && all.contains(&any.as_str()) {
                let why = format!("if '{any}' is present, must not specify {item}");
                errs.push(Error::invalid(&p, *item, why));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(check: fn(&Value, &Path, &mut ErrorList), value: &Value) -> Vec<String> {
        let mut errs = ErrorList::new();
        check(value, &Path::new("p"), &mut errs);
        errs.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn clients_are_https_urls_or_services() {
        let cases = [
            (json!({"url": "https://h:8443/x"}), ""),
            (
                json!({"url": "http://h/x"}),
                "p.url: Invalid value: \"http\": 'https' is the only allowed URL scheme; desired format: https://host[/path]",
            ),
            (
                json!({"url": "https://h/x?y=z"}),
                "p.url: Invalid value: \"y=z\": query parameters are not permitted in the URL",
            ),
            (
                json!({"url": "https://u@h/x#f"}),
                "p.url: Invalid value: \"u\": user information is not permitted in the URL",
            ),
            (
                json!({"service": {"name": "s", "namespace": "n", "path": "/a/b", "port": 443}}),
                "",
            ),
            (
                json!({"service": {"namespace": "n"}}),
                "p.service.namespace: Required value",
            ),
            (
                json!({"service": {"name": "s", "namespace": "n", "path": "a"}}),
                "p.service.path: Invalid value: \"a\": must start with a '/'",
            ),
            (
                json!({"service": {"name": "s", "namespace": "n", "path": "/a//b"}}),
                "p.service.path: Invalid value: \"/a//b\": segment[1] may not be empty",
            ),
            (
                json!({}),
                "p: Required value: exactly one of url or service is required",
            ),
        ];
        for (config, error) in cases {
            assert_eq!(found(client, &config).first().map_or("", String::as_str), error);
        }
    }

    #[test]
    fn rules_name_something_and_stars_stand_alone() {
        let rule = |change: Value| {
            let mut rule = json!({"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]});
            for (key, value) in change.as_object().into_iter().flatten() {
                rule[key] = value.clone();
            }
            json!({ "rules": [rule] })
        };
        let cases = [
            (json!({}), ""),
            (json!({"operations": []}), "p[0].operations: Required value"),
            (
                json!({"operations": ["*", "CREATE"]}),
                "p[0].operations: Invalid value: [\"*\",\"CREATE\"]: if '*' is present, must not specify other operations",
            ),
            (
                json!({"operations": ["MAKE"]}),
                "p[0].operations[0]: Unsupported value: \"MAKE\": supported values: \"*\", \"CONNECT\", \"CREATE\", \"DELETE\", \"UPDATE\"",
            ),
            (
                json!({"resources": ["pods/*", "pods/exec"]}),
                "p[0].resources[1]: Invalid value: \"pods/exec\": if 'pods/*' is present, must not specify pods/exec",
            ),
            (json!({"resources": ["*", "pods/exec"]}), ""),
            (
                json!({"scope": "Here"}),
                "p[0].scope: Unsupported value: \"Here\": supported values: \"*\", \"Cluster\", \"Namespaced\"",
            ),
        ];
        for (change, error) in cases {
            assert_eq!(
                found(rules, &rule(change)).first().map_or("", String::as_str),
                error
            );
        }
    }
}
