use std::collections::HashSet;

use super::*;
use crate::resources;

fn apps() -> Value {
    v3(
        "apps",
        "v1",
        resources::builtin(),
        &[],
        &NoDescriptions,
        "v1.35.0",
    )
}

/// All references of a document.
fn references<'a>(value: &'a Value, out: &mut HashSet<&'a str>) {
    match value {
        Value::Object(object) => {
            out.extend(object.get("$ref").and_then(Value::as_str));
            object.values().for_each(|value| references(value, out));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, out)),
        _ => {}
    }
}

#[test]
fn every_reference_is_defined() {
    let document = v2(resources::builtin(), &[], &NoDescriptions, "v1.35.0");
    let mut found = HashSet::new();
    references(&document, &mut found);
    assert!(found.len() > 500);
    for target in found {
        // JSONSchemaProps has a property of the name `$ref`, which is an object and thus not found here.
        let name = target.strip_prefix("#/definitions/").unwrap();
        assert!(document["definitions"].get(name).is_some(), "{name}");
    }
    for group_version in group_versions(resources::all()) {
        let (group, version) = (group_version.group, group_version.version);
        let document = v3(group, version, resources::all(), &[], &NoDescriptions, "v1.35.0");
        let mut found = HashSet::new();
        references(&document, &mut found);
        for target in found {
            let name = target.strip_prefix("#/components/schemas/").unwrap();
            assert!(document["components"]["schemas"].get(name).is_some(), "{name}");
        }
    }
}

#[test]
fn operation_ids_are_unique() {
    let document = v2(resources::all(), &[], &NoDescriptions, "v1.35.0");
    let mut ids = HashSet::new();
    for (url, item) in document["paths"].as_object().unwrap() {
        for operation in item.as_object().unwrap().values() {
            let Some(id) = operation.get("operationId").and_then(Value::as_str) else {
                continue;
            };
            // The proxy with a path repeats those without, which upstream tells apart by a suffix.
            assert!(ids.insert(id.to_owned()), "{id} at {url}");
        }
    }
    for id in [
        "listCoreV1NamespacedPod",
        "listCoreV1PodForAllNamespaces",
        "createCoreV1Namespace",
        "readCoreV1NamespacedPodStatus",
        "deleteCoreV1CollectionNamespacedPod",
        "patchAppsV1NamespacedDeploymentScale",
        "createCoreV1NamespacedPodBinding",
        "connectCoreV1GetNamespacedPodExec",
        "connectCoreV1GetNodeProxyWithPath",
        "getRbacAuthorizationV1APIResources",
        "replaceFlowcontrolApiserverV1FlowSchemaStatus",
        "createCoreV1NamespacedServiceAccountToken",
    ] {
        assert!(ids.contains(id), "{id}");
    }
}

#[test]
fn definitions_carry_merge_facts() {
    let document = apps();
    let schemas = &document["components"]["schemas"];
    insta::assert_json_snapshot!(schemas["io.k8s.api.core.v1.ContainerPort"], @r#"
    {
      "properties": {
        "containerPort": {
          "default": 0,
          "format": "int32",
          "type": "integer"
        },
        "hostIP": {
          "type": "string"
        },
        "hostPort": {
          "format": "int32",
          "type": "integer"
        },
        "name": {
          "type": "string"
        },
        "protocol": {
          "default": "TCP",
          "enum": [
            "SCTP",
            "TCP",
            "UDP"
          ],
          "type": "string"
        }
      },
      "required": [
        "containerPort"
      ],
      "type": "object"
    }
    "#);
    insta::assert_json_snapshot!(schemas["io.k8s.api.core.v1.Container"]["properties"]["ports"], @r##"
    {
      "items": {
        "allOf": [
          {
            "$ref": "#/components/schemas/io.k8s.api.core.v1.ContainerPort"
          }
        ],
        "default": {}
      },
      "type": "array",
      "x-kubernetes-list-map-keys": [
        "containerPort",
        "protocol"
      ],
      "x-kubernetes-list-type": "map",
      "x-kubernetes-patch-merge-key": "containerPort",
      "x-kubernetes-patch-strategy": "merge"
    }
    "##);
    assert_eq!(
        schemas["io.k8s.api.apps.v1.Deployment"]["x-kubernetes-group-version-kind"],
        json!([{ "group": "apps", "version": "v1", "kind": "Deployment" }])
    );
    assert_eq!(
        schemas["io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector"]["x-kubernetes-map-type"],
        "atomic"
    );
    assert_eq!(
        schemas["io.k8s.apimachinery.pkg.util.intstr.IntOrString"]["format"],
        "int-or-string"
    );
    let v2 = v2(resources::builtin(), &[], &NoDescriptions, "v1.35.0");
    assert_eq!(
        v2["definitions"]["io.k8s.api.apps.v1.DeploymentSpec"]["properties"]["strategy"],
        json!({ "$ref": "#/definitions/io.k8s.api.apps.v1.DeploymentStrategy", "x-kubernetes-patch-strategy": "retainKeys" })
    );
}

#[test]
fn kubectl_finds_field_validation() {
    let document = apps();
    let patch = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
    assert_eq!(
        patch["x-kubernetes-group-version-kind"],
        json!({ "group": "apps", "version": "v1", "kind": "Deployment" })
    );
    assert_eq!(patch["x-kubernetes-action"], "patch");
    let names: Vec<&str> = patch["parameters"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|p| p["name"].as_str())
        .collect();
    assert_eq!(names, ["dryRun", "fieldManager", "fieldValidation", "force"]);
    assert!(
        patch["requestBody"]["content"]
            .get("application/strategic-merge-patch+json")
            .is_some()
    );
}

#[test]
fn custom_definitions_are_followed() {
    let mut widget = resources::find("apps", "v1", "deployments").unwrap().clone();
    (widget.group, widget.kind, widget.resource) = ("example.com", "Widget", "widgets");
    (widget.type_name, widget.list_type_name) = ("com.example.v1.Widget", "com.example.v1.WidgetList");
    widget.subresources.clear();
    let meta = "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
    let custom = [
        CustomDefinition {
            name: "com.example.v1.Widget".into(),
            schema: json!({ "type": "object", "properties": { "metadata": { "$ref": meta } } }),
        },
        CustomDefinition {
            name: "com.example.v1.WidgetList".into(),
            schema: json!({ "type": "object" }),
        },
    ];
    let document = v2(&[widget.clone()], &custom, &NoDescriptions, "v1.35.0");
    let target = &document["definitions"]["com.example.v1.Widget"]["properties"]["metadata"]["$ref"];
    assert_eq!(
        target,
        "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
    );
    assert!(
        document["definitions"]
            .get("io.k8s.apimachinery.pkg.apis.meta.v1.OwnerReference")
            .is_some()
    );
    let index = v3_index(&[widget], |path| path.len().to_string());
    assert_eq!(
        index["paths"]["apis/example.com/v1"]["serverRelativeURL"],
        "/openapi/v3/apis/example.com/v1?hash=19"
    );
}
