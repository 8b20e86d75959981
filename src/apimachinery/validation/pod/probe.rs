//! Probes and lifecycle handlers.

use serde_json::Value;

use super::super::support::{list, nonnegative, required, required_one_of, text};
use crate::field::{Error, ErrorList, Path};
use crate::names;

pub(super) fn all(c: &Value, path: &Path, errs: &mut ErrorList) {
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let p = &c[name];
        if !p.is_object() {
            continue;
        }
        let path = path.child(name);
        handler(p, None, &path, errs);
        for f in [
            "initialDelaySeconds",
            "timeoutSeconds",
            "periodSeconds",
            "successThreshold",
            "failureThreshold",
        ] {
            nonnegative(&p[f], &path.child(f), errs);
        }
        let grace = &p["terminationGracePeriodSeconds"];
        let grace_path = path.child("terminationGracePeriodSeconds");
        match grace.as_i64() {
            Some(n) if n <= 0 => errs.push(Error::invalid(&grace_path, n, "must be greater than 0")),
            _ => {}
        }
        if name == "readinessProbe" && !grace.is_null() {
            errs.push(Error::invalid(
                &grace_path,
                grace.clone(),
                "must not be set for readinessProbes",
            ));
        }
        let success = p["successThreshold"].as_i64().unwrap_or(1);
        if name != "readinessProbe" && success != 1 {
            errs.push(Error::invalid(
                &path.child("successThreshold"),
                success,
                "must be 1",
            ));
        }
    }
}

/// What is run as a container begins and ends; `grace`: the seconds that its pod is given to end.
pub(super) fn lifecycle(l: &Value, grace: Option<i64>, path: &Path, errs: &mut ErrorList) {
    for name in ["postStart", "preStop"] {
        if l[name].is_object() {
            handler(&l[name], grace, &path.child(name), errs);
        }
    }
}

fn handler(h: &Value, grace: Option<i64>, path: &Path, errs: &mut ErrorList) {
    let mut found = 0;
    for kind in ["exec", "httpGet", "tcpSocket", "grpc", "sleep"] {
        let a = &h[kind];
        if !a.is_object() {
            continue;
        }
        let p = path.child(kind);
        found += 1;
        if found > 1 {
            errs.push(Error::forbidden(&p, "may not specify more than 1 handler type"));
            continue;
        }
        match kind {
            "exec" => {
                required(&a["command"], &p.child("command"), errs);
            }
            "httpGet" => {
                required(&a["path"], &p.child("path"), errs);
                port(&a["port"], &p.child("port"), errs);
                required_one_of(&a["scheme"], &["HTTP", "HTTPS"], &p.child("scheme"), errs);
                for h in list(&a["httpHeaders"]) {
                    let name = text(h, "name");
                    errs.invalid_each(&p.child("httpHeaders"), name, names::http_header_name(name));
                }
            }
            "tcpSocket" => port(&a["port"], &p.child("port"), errs),
            "grpc" => port(&a["port"], &p.child("port"), errs),
            _ => {
                let seconds = a["seconds"].as_i64().unwrap_or(0);
                // A negative period counts as one second.
                let grace = grace.map(|grace| if grace < 0 { 1 } else { grace });
                if let Some(grace) = grace.filter(|grace| !(0..=*grace).contains(&seconds)) {
                    errs.push(Error::invalid(
                        &p,
                        seconds,
                        format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})"),
                    ));
                }
            }
        }
    }
    if found == 0 {
        errs.push(Error::required(path, "must specify a handler type"));
    }
}

/// A port by number or name.
pub(in super::super) fn port(v: &Value, path: &Path, errs: &mut ErrorList) {
    match v {
        Value::String(s) => errs.invalid_each(path, s, names::port_name(s)),
        other => {
            let n = other.as_i64().unwrap_or(0);
            for m in names::port_num(n) {
                errs.push(Error::invalid(path, n, m));
            }
        }
    }
}
