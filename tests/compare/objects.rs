//! One valid object of every kind, with much in it.

use rkind_apimachinery::resources::{self, ResourceDef};
use serde_json::{Value, json};

use crate::script::NAMESPACE;

/// A valid object and where its kind is served.
pub(crate) struct Sample {
    pub(crate) resource: &'static ResourceDef,
    pub(crate) object: Value,
}

impl Sample {
    /// `/apis/<group>/<version>[/namespaces/<namespace>]/<resource>`
    pub(crate) fn collection(&self) -> String {
        let root = self.resource.root_path();
        let resource = self.resource.resource;
        match self.resource.namespaced {
            true => format!("{root}/namespaces/{NAMESPACE}/{resource}"),
            false => format!("{root}/{resource}"),
        }
    }

    pub(crate) fn path(&self) -> String {
        let name = self.object["metadata"]["name"].as_str().unwrap_or_default();
        format!("{}/{name}", self.collection())
    }

    /// `<resource>`, with its group where core or another group has one of that name.
    pub(crate) fn title(&self) -> String {
        match (self.resource.resource, self.resource.group) {
            ("events", "") | (_, "") => self.resource.resource.to_owned(),
            ("events", group) => format!("events.{group}"),
            ("horizontalpodautoscalers", _) => format!("horizontalpodautoscalers.{}", self.resource.version),
            (resource, _) => resource.to_owned(),
        }
    }
}

/// What `objects.yaml` says, and for kinds it lacks what the API suite creates of every kind.
pub(crate) fn samples() -> Vec<Sample> {
    let csr = include_str!("../api/testdata/jane.csr.b64").trim();
    let rich = include_str!("objects.yaml");
    let plain = include_str!("../api/testdata/kinds.jsonl");
    let rich = rich.split("\n---\n").map(|text| (text, false));
    let mut samples: Vec<Sample> = vec![];
    for (text, fills) in rich.chain(plain.lines().map(|line| (line, true))) {
        let text = text.replace("$CSR", csr).replace(
            r#""namespace":"endpoints""#,
            &format!(r#""namespace":"{NAMESPACE}""#),
        );
        let mut object: Value =
            serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let text = |field: &str| object[field].as_str().unwrap_or_default().to_owned();
        let (version, kind) = (text("apiVersion"), text("kind"));
        let (group, version) = version.split_once('/').unwrap_or(("", &version));
        // What the API suite tries of beta groups is off by default.
        let Some(resource) = resources::by_kind(group, version, &kind) else {
            continue;
        };
        if resource.off_by_default
            || (fills
                && samples
                    .iter()
                    .any(|sample| std::ptr::eq(sample.resource, resource)))
        {
            continue;
        }
        // Reviews are not kept, and some must have no name.
        let kept = resource.has_verb("get");
        if kept && object["metadata"]["name"].is_null() {
            object["metadata"]["name"] = json!(format!("sample-{}", samples.len()));
        }
        samples.push(Sample { resource, object });
    }
    samples
}
