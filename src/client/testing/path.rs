//! What a request is about.

use serde_json::{Value, json};

use super::{SERVED, Served};
use crate::Selector;

pub(super) struct Target {
    pub(super) served: &'static Served,
    pub(super) namespace: String,
    pub(super) name: Option<String>,
    pub(super) subresource: Option<String>,
    pub(super) watch: bool,
    pub(super) from: u64,
    labels: Option<Selector>,
    fields: Vec<(String, String)>,
}

impl Target {
    pub(super) fn named(served: &'static Served, namespace: &str, name: &str) -> Self {
        Self {
            served,
            namespace: namespace.to_owned(),
            name: Some(name.to_owned()),
            subresource: None,
            watch: false,
            from: 0,
            labels: None,
            fields: Vec::new(),
        }
    }

    pub(super) fn of(object: &Value) -> Option<Self> {
        let kind = object["kind"].as_str()?;
        let served = SERVED.iter().find(|s| s.kind == kind)?;
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
        let namespace = if served.namespaced && namespace.is_empty() {
            "default"
        } else {
            namespace
        };
        Some(Self::named(
            served,
            namespace,
            object["metadata"]["name"].as_str().unwrap_or_default(),
        ))
    }

    pub(super) fn parse(path: &str, query: &str) -> Option<Self> {
        let mut parts: Vec<&str> = path.split('/').filter(|p| !p.is_empty()).collect();
        let group = match *parts.first()? {
            "api" => "",
            "apis" => {
                parts.remove(0);
                *parts.first()?
            }
            _ => return None,
        };
        let rest = parts.get(2..)?;
        let (namespace, rest) = match rest {
            ["namespaces", namespace, resource, ..]
                if SERVED.iter().any(|s| s.resource == *resource && s.namespaced) =>
            {
                (*namespace, &rest[2..])
            }
            _ => ("", rest),
        };
        let served = SERVED
            .iter()
            .find(|s| s.group == group && Some(&s.resource) == rest.first())?;
        let mut target = Self::named(served, namespace, "");
        target.name = rest.get(1).map(|n| (*n).to_owned());
        target.subresource = rest.get(2).map(|s| (*s).to_owned());
        for pair in query.split('&') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decode(value);
            match key {
                "watch" => target.watch = value == "true" || value == "1",
                "resourceVersion" => target.from = value.parse().unwrap_or(0),
                "labelSelector" => target.labels = Selector::parse(&value).ok(),
                "fieldSelector" => {
                    let each = value.split(',').filter_map(|f| f.split_once('='));
                    target.fields = each
                        .map(|(k, v)| (k.to_owned(), v.trim_start_matches('=').to_owned()))
                        .collect();
                }
                _ => {}
            }
        }
        Some(target)
    }

    pub(super) fn selects(&self, object: &Value) -> bool {
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
        if !self.namespace.is_empty() && self.namespace != namespace {
            return false;
        }
        let labels = serde_json::from_value(object["metadata"]["labels"].clone()).ok();
        self.labels
            .as_ref()
            .is_none_or(|selector| selector.matches(labels.as_ref()))
            && self.fields.iter().all(|(path, value)| {
                let found = path.split('.').fold(object, |object, field| &object[field]);
                found.as_str().unwrap_or_default() == value
            })
    }
}

fn decode(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).and_then(|h| std::str::from_utf8(h).ok());
        match (first, hex.and_then(|h| u8::from_str_radix(h, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            (b'+', _) => {
                bytes.push(b' ');
                rest = tail;
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The discovery documents.
pub(super) fn discovery(path: &str) -> Option<Value> {
    let resources = |group: &str| {
        let verbs = [
            "create",
            "delete",
            "deletecollection",
            "get",
            "list",
            "patch",
            "update",
            "watch",
        ];
        let each = SERVED.iter().filter(|s| s.group == group).map(|s| {
            json!({"name": s.resource, "singularName": "", "namespaced": s.namespaced, "kind": s.kind, "verbs": verbs})
        });
        json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": format!("{group}/v1"),
            "resources": each.collect::<Vec<_>>()})
    };
    match path {
        "/api/v1" => Some(resources("")),
        "/apis" => {
            let mut groups: Vec<&str> = SERVED.iter().map(|s| s.group).filter(|g| !g.is_empty()).collect();
            groups.dedup();
            let each = groups.iter().map(|group| {
                let version = json!({"groupVersion": format!("{group}/v1"), "version": "v1"});
                json!({"name": group, "versions": [version.clone()], "preferredVersion": version})
            });
            Some(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": each.collect::<Vec<_>>()}))
        }
        _ => {
            let group = path.strip_prefix("/apis/")?.strip_suffix("/v1")?;
            SERVED.iter().any(|s| s.group == group).then(|| resources(group))
        }
    }
}
