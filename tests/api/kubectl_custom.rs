//! kubectl on what a definition declares, as an operator's user types it.

use crate::kubectl::run;
use crate::server::Server;

const DEFINITION: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget, shortNames: [wd], categories: [all]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas, labelSelectorPath: .status.selector}
    additionalPrinterColumns:
    - {name: Size, type: integer, jsonPath: .spec.size}
    - {name: Ready, type: string, jsonPath: '.status.conditions[?(@.type==\"Ready\")].status'}
    - {name: Note, type: string, jsonPath: .spec.note, priority: 1}
    schema:
      openAPIV3Schema:
        type: object
        description: A widget turns.
        properties:
          spec:
            type: object
            description: What it should be.
            required: [size]
            properties:
              size: {type: integer, minimum: 1, description: Its size in millimetres.}
              color: {type: string, enum: [red, blue], default: red}
              note: {type: string}
              replicas: {type: integer}
              parts:
                type: array
                x-kubernetes-list-type: map
                x-kubernetes-list-map-keys: [name]
                items:
                  type: object
                  required: [name]
                  properties: {name: {type: string}, count: {type: integer}}
          status:
            type: object
            properties:
              replicas: {type: integer}
              selector: {type: string}
              conditions:
                type: array
                items:
                  type: object
                  properties: {type: {type: string}, status: {type: string}}
";

const WIDGET: &str = "
apiVersion: example.com/v1
kind: Widget
metadata: {name: a, labels: {app: a}}
spec: {size: 3, note: first, replicas: 1, parts: [{name: x, count: 1}]}
";

/// A server with the definition.
fn defined() -> Server {
    let server = Server::start();
    let said = server.kubectl_with(&["apply", "-f", "-"], DEFINITION);
    assert_eq!(
        said,
        "customresourcedefinition.apiextensions.k8s.io/widgets.example.com created\n"
    );
    let wait = [
        "wait",
        "crd/widgets.example.com",
        "--for=condition=Established",
        "--timeout=20s",
    ];
    assert!(server.kubectl(&wait).contains("condition met"));
    server
}

#[test]
fn objects_are_applied_compared_and_replaced() {
    let server = defined();
    let k = |args: &[&str], input: &str| server.kubectl_with(args, input);
    assert_eq!(
        k(&["create", "--dry-run=server", "-f", "-"], WIDGET),
        "widget.example.com/a created (server dry run)\n"
    );
    assert_eq!(k(&["apply", "-f", "-"], WIDGET), "widget.example.com/a created\n");
    assert_eq!(
        k(&["apply", "-f", "-"], WIDGET),
        "widget.example.com/a unchanged\n"
    );
    let changed = WIDGET.replace("size: 3, note: first", "size: 4");
    let (code, diff, _) = server.try_kubectl(&["diff", "-f", "-"], &changed);
    assert_eq!(code, 1);
    for line in ["-  note: first", "-  size: 3", "+  size: 4"] {
        assert!(diff.contains(line), "{line}\n{diff}");
    }
    assert_eq!(
        k(&["apply", "-f", "-"], &changed),
        "widget.example.com/a configured\n"
    );
    let (code, diff, _) = server.try_kubectl(&["diff", "-f", "-"], &changed);
    assert_eq!((code, diff.as_str()), (0, ""));
    // What is no longer applied is gone; the default stays.
    let spec = "get wd a -o jsonpath={.spec.size}{.spec.note}{.spec.color}";
    run(&server, &[(spec, "4red")]);
    let uid = server.kubectl(&["get", "wd", "a", "-o=jsonpath={.metadata.uid}"]);
    assert_eq!(
        k(
            &["replace", "-f", "-"],
            &server.kubectl(&["get", "wd", "a", "-o", "yaml"])
        ),
        "widget.example.com/a replaced\n"
    );
    let said = k(&["replace", "--force", "-f", "-"], WIDGET);
    assert!(said.ends_with("widget.example.com/a replaced\n"), "{said}");
    assert_ne!(
        server.kubectl(&["get", "wd", "a", "-o=jsonpath={.metadata.uid}"]),
        uid,
        "deleted and made anew"
    );
    let (code, _, said) = server.try_kubectl(
        &["apply", "-f", "-"],
        &WIDGET.replace("size: 3", "size: 0, more: 1"),
    );
    assert_eq!(code, 1);
    assert!(
        said.contains("strict decoding error: unknown field \"spec.more\""),
        "{said}"
    );
    let (_, _, said) = server.try_kubectl(&["apply", "-f", "-"], &WIDGET.replace("size: 3", "size: 0"));
    assert!(
        said.contains("The Widget \"a\" is invalid: spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1"),
        "{said}"
    );
    let server_side = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
    assert_eq!(
        k(&server_side, &changed),
        "widget.example.com/a serverside-applied\n"
    );
    let (code, _, said) = server.try_kubectl(
        &["apply", "--server-side", "--field-manager=other", "-f", "-"],
        WIDGET,
    );
    assert!(
        code != 0 && said.contains("Apply failed with 1 conflict: conflict with \"kubectl\": .spec.size"),
        "{said}"
    );
}

#[test]
fn objects_are_changed() {
    let server = defined();
    server.kubectl_with(&["create", "-f", "-"], WIDGET);
    run(
        &server,
        &[
            ("label widget a tier=front", "widget.example.com/a labeled"),
            ("annotate wd a note=x", "widget.example.com/a annotated"),
            ("scale wd a --replicas=5", "widget.example.com/a scaled"),
            (
                "get wd a -o jsonpath={.spec.replicas}{.metadata.generation}",
                "52",
            ),
            (
                r#"patch wd a --type=merge -p {"spec":{"note":"second"}}"#,
                "patched",
            ),
            (
                r#"patch wd a --type=json -p [{"op":"add","path":"/spec/parts/-","value":{"name":"y"}}]"#,
                "patched",
            ),
            (
                r#"patch wd a --subresource=status --type=merge -p {"status":{"replicas":5,"conditions":[{"type":"Ready","status":"True"}]}}"#,
                "patched",
            ),
            ("wait wd/a --for=condition=Ready --timeout=10s", "condition met"),
            (
                "wait wd/a --for=jsonpath={.spec.note}=second --timeout=10s",
                "condition met",
            ),
            ("get wd", "NAME   SIZE   READY\na      3      True\n"),
            (
                "get wd -o wide",
                "NAME   SIZE   READY   NOTE\na      3      True    second\n",
            ),
            ("get wd -l tier=front -o name", "widget.example.com/a"),
            ("get all -o name", "widget.example.com/a"),
            ("describe wd a", "Note:   second"),
            ("delete wd a --wait=true", "widget.example.com \"a\" deleted"),
            ("get wd", ""),
        ],
    );
    server.kubectl_with(&["create", "-f", "-"], WIDGET);
    // Only kinds with a Go type have a strategic merge patch.
    let (code, _, said) = server.try_kubectl(&["patch", "wd", "a", "-p", r#"{"spec":{"size":9}}"#], "");
    assert_eq!(code, 1);
    assert!(
        said.contains(
            "application/strategic-merge-patch+json is not supported by example.com/v1, Kind=Widget"
        ),
        "{said}"
    );
    let (code, _, said) = server.try_kubectl(&["wait", "wd/a", "--for=condition=Ready", "--timeout=1s"], "");
    assert_eq!(code, 1);
    assert!(
        said.contains("timed out waiting for the condition on widgets/a"),
        "{said}"
    );
}

#[test]
fn a_definition_is_known() {
    let server = defined();
    run(
        &server,
        &[
            (
                "api-resources --api-group=example.com --no-headers",
                "widgets   wd    example.com/v1   true   Widget",
            ),
            (
                "api-resources --api-group=example.com -o wide",
                "delete,deletecollection,get,list,patch,create,update,watch   all",
            ),
            ("api-versions", "example.com/v1\n"),
            ("explain widgets", "A widget turns."),
            (
                "explain wd.spec",
                "size\t<integer> -required-\n    Its size in millimetres.",
            ),
            ("explain wd.spec.color", "ENUM:\n    red\n    blue"),
            ("explain wd --recursive", "conditions\t<[]Object>"),
            (
                "get --raw /apis/example.com/v1/widgets",
                "\"kind\":\"WidgetList\"",
            ),
            (
                "get crd widgets.example.com -o jsonpath={.status.storedVersions}",
                "[\"v1\"]",
            ),
            ("get crd", "NAME                  CREATED AT\nwidgets.example.com"),
            ("auth can-i create widgets.example.com", "yes"),
            ("auth can-i update wd --subresource=scale", "yes"),
            (
                "create role turner --verb=get,list --resource=widgets.example.com",
                "created",
            ),
            ("create rolebinding turner --role=turner --user=jane", "created"),
            ("auth can-i --list --as=jane", "widgets.example.com"),
            (
                "auth whoami --as=jane -o jsonpath={.status.userInfo.username}",
                "jane",
            ),
            ("auth can-i get widgets --as=jane", "yes"),
        ],
    );
    let (code, said, _) = server.try_kubectl(&["auth", "can-i", "delete", "widgets", "--as=jane"], "");
    assert_eq!((code, said.as_str()), (1, "no\n"));
    run(&server, &[("delete crd widgets.example.com", "deleted")]);
    // kubectl goes by what it discovered before.
    let (code, _, said) = server.try_kubectl(&["get", "widgets"], "");
    assert_eq!(code, 1);
    assert!(
        said.contains("the server could not find the requested resource"),
        "{said}"
    );
}

#[test]
fn events_are_shown() {
    let server = Server::start();
    server.kubectl(&["run", "p", "--image=registry.example/c:1"]);
    let uid = server.kubectl(&["get", "pod", "p", "-o=jsonpath={.metadata.uid}"]);
    let event = format!(
        "apiVersion: v1\nkind: Event\nmetadata: {{name: p.1}}\ntype: Warning\nreason: FailedScheduling\n\
         message: 0/0 nodes are available\ncount: 3\nlastTimestamp: '2026-01-01T00:00:00Z'\n\
         source: {{component: default-scheduler}}\n\
         involvedObject: {{kind: Pod, name: p, namespace: default, uid: {uid}, apiVersion: v1}}\n"
    );
    server.kubectl_with(&["create", "-f", "-"], &event);
    run(
        &server,
        &[
            (
                "events",
                "Warning   FailedScheduling   Pod/p    0/0 nodes are available",
            ),
            (
                "events --for pod/p --types=Warning --no-headers",
                "FailedScheduling",
            ),
            (
                "get events --field-selector involvedObject.name=p,type=Warning -o name",
                "event/p.1",
            ),
            ("describe pod p", "FailedScheduling"),
        ],
    );
    assert_eq!(
        server.kubectl(&["get", "events", "--field-selector", "type=Normal", "-o", "name"]),
        ""
    );
}
