//! Which resources the server has.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResourceList;
use kube::api::{ApiResource, DynamicObject};
use kube::{Api, Client};

/// One resource, in its group's preferred version.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Discovered {
    pub(crate) resource: ApiResource,
    pub(crate) namespaced: bool,
    pub(crate) verbs: Vec<String>,
}

impl Discovered {
    pub(crate) fn can(&self, verb: &str) -> bool {
        self.verbs.iter().any(|v| v == verb)
    }

    pub(crate) fn api(&self, client: Client, namespace: Option<&str>) -> Api<DynamicObject> {
        match namespace {
            Some(namespace) if self.namespaced => Api::namespaced_with(client, namespace, &self.resource),
            _ => Api::all_with(client, &self.resource),
        }
    }
}

/// What could be learned, and the group versions that didn't answer.
#[derive(Debug, Default)]
pub(crate) struct Discovery {
    pub(crate) resources: Vec<Discovered>,
    pub(crate) failed: BTreeMap<String, String>,
}

/// Asks the server for everything it serves. An unreachable aggregated API fails only its own group.
///
/// # Errors
/// The list of groups can't be had.
pub(crate) async fn discover(client: &Client) -> kube::Result<Discovery> {
    let mut discovery = Discovery::default();
    add(
        &mut discovery,
        "",
        "v1",
        client.list_core_api_resources("v1").await?,
    );
    for group in client.list_api_groups().await?.groups {
        let preferred = group.preferred_version.map(|v| v.version);
        let mut versions: Vec<String> = group.versions.into_iter().map(|v| v.version).collect();
        versions.sort_by_key(|v| Some(v) != preferred.as_ref());
        for version in versions {
            let group_version = format!("{}/{version}", group.name);
            match client.list_api_group_resources(&group_version).await {
                Ok(list) => add(&mut discovery, &group.name, &version, list),
                Err(error) => {
                    discovery
                        .failed
                        .insert(group_version, rkind_client::chain(&error));
                }
            }
        }
    }
    Ok(discovery)
}

/// Versions come best first: a resource is taken from the first that has it.
fn add(discovery: &mut Discovery, group: &str, version: &str, list: APIResourceList) {
    for resource in list.resources.into_iter().filter(|r| !r.name.contains('/')) {
        let known = discovery
            .resources
            .iter()
            .any(|d| d.resource.group == group && d.resource.plural == resource.name);
        if known {
            continue;
        }
        let api_version = if group.is_empty() {
            version.to_owned()
        } else {
            format!("{group}/{version}")
        };
        discovery.resources.push(Discovered {
            resource: ApiResource {
                group: group.to_owned(),
                version: version.to_owned(),
                api_version,
                kind: resource.kind,
                plural: resource.name,
            },
            namespaced: resource.namespaced,
            verbs: resource.verbs,
        });
    }
}
