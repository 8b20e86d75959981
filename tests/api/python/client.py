"""What scripts do with the Python client. KUBECONFIG names the server.

One line per check goes to standard output; the exit code is 1 when any failed.
"""

import sys
import threading
import time
import traceback

from kubernetes import client, config, dynamic, utils, watch
from kubernetes.client.rest import ApiException

CHECKS = []
DEADLINE = 30


def check(function):
    CHECKS.append(function)
    return function


def refused(code, reason, call, *args, **kwargs):
    """The body of the refusal that a call must meet."""
    try:
        call(*args, **kwargs)
    except ApiException as error:
        assert error.status == code and f'"reason":"{reason}"' in error.body, error
        return error.body
    raise AssertionError(f"not refused: {call.__name__} {args}")


def config_map(name, **data):
    return client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name), data=data or {"k": "v"})


def deployment(name, replicas=1):
    labels = {"app": name}
    container = client.V1Container(name="c", image="registry.example/c:1")
    template = client.V1PodTemplateSpec(
        metadata=client.V1ObjectMeta(labels=labels), spec=client.V1PodSpec(containers=[container])
    )
    spec = client.V1DeploymentSpec(
        replicas=replicas, selector=client.V1LabelSelector(match_labels=labels), template=template
    )
    return client.V1Deployment(metadata=client.V1ObjectMeta(name=name), spec=spec)


@check
def crud(ns):
    core = client.CoreV1Api()
    made = core.create_namespaced_config_map(ns, config_map("a"))
    assert made.metadata.uid and made.metadata.creation_timestamp.tzinfo
    made.data["k"] = "w"
    assert core.replace_namespaced_config_map("a", ns, made).data == {"k": "w"}
    refused(409, "Conflict", core.replace_namespaced_config_map, "a", ns, made)
    core.patch_namespaced_config_map("a", ns, {"data": {"k": None, "l": "x"}})
    assert core.read_namespaced_config_map("a", ns).data == {"l": "x"}
    core.delete_namespaced_config_map("a", ns)
    body = refused(404, "NotFound", core.read_namespaced_config_map, "a", ns)
    assert 'configmaps \\"a\\" not found' in body, body


@check
def patches_of_each_type(ns):
    apps = client.AppsV1Api()
    apps.create_namespaced_deployment(ns, deployment("web"))
    apps.patch_namespaced_deployment("web", ns, [{"op": "replace", "path": "/spec/replicas", "value": 2}])
    side = {"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "registry.example/s:1"}]}}}}
    patched = apps.patch_namespaced_deployment("web", ns, side)
    assert patched.spec.replicas == 2
    assert [c.name for c in patched.spec.template.spec.containers] == ["side", "c"]
    scale = apps.patch_namespaced_deployment_scale("web", ns, {"spec": {"replicas": 7}})
    assert scale.spec.replicas == 7 and scale.status.selector == "app=web"


@check
def watches(ns):
    core = client.CoreV1Api()
    version = core.list_namespaced_config_map(ns).metadata.resource_version
    seen = []

    def follow():
        stream = watch.Watch().stream(
            core.list_namespaced_config_map, ns, resource_version=version, timeout_seconds=DEADLINE
        )
        for event in stream:
            seen.append((event["type"], event["object"].metadata.name))
            if event["type"] == "DELETED":
                return

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    core.create_namespaced_config_map(ns, config_map("a"))
    core.patch_namespaced_config_map("a", ns, {"data": {"k": "w"}})
    core.delete_namespaced_config_map("a", ns)
    thread.join(DEADLINE)
    assert seen == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")], seen


@check
def lists_in_pages(ns):
    core = client.CoreV1Api()
    for i in range(7):
        core.create_namespaced_config_map(ns, config_map(f"m{i}"))
    names, token = [], None
    while token != "":
        page = core.list_namespaced_config_map(ns, limit=3, _continue=token)
        names += [item.metadata.name for item in page.items]
        token = page.metadata._continue or ""
    assert names == [f"m{i}" for i in range(7)], names
    chosen = core.list_namespaced_config_map(ns, field_selector="metadata.name=m3").items
    assert [item.metadata.name for item in chosen] == ["m3"]


@check
def dynamic_client(ns):
    resources = dynamic.DynamicClient(client.ApiClient())
    maps = resources.resources.get(api_version="v1", kind="ConfigMap")
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}}
    assert maps.create(body=body, namespace=ns).data.k == "v"
    body["data"] = {"k": "applied"}
    applied = maps.server_side_apply(body=body, namespace=ns, field_manager="python", force_conflicts=True)
    assert applied.data.k == "applied"
    assert maps.get(namespace=ns, label_selector="none=such").items == []
    maps.delete(name="a", namespace=ns)


@check
def create_from_dict(ns):
    body = client.ApiClient().sanitize_for_serialization(deployment("web"))
    body.update(apiVersion="apps/v1", kind="Deployment")
    utils.create_from_dict(client.ApiClient(), body, namespace=ns)
    assert client.AppsV1Api().read_namespaced_deployment("web", ns).status.replicas is None


@check
def invalid_objects_are_refused(ns):
    core = client.CoreV1Api()
    body = refused(422, "Invalid", core.create_namespaced_config_map, ns, config_map("Not_A_Name"))
    assert "metadata.name" in body
    refused(404, "NotFound", core.create_namespaced_config_map, "no-such-namespace", config_map("a"))
    refused(400, "BadRequest", core.list_namespaced_config_map, ns, label_selector="a in (")


@check
def authorization(ns):
    auth = client.AuthorizationV1Api()

    def allowed(user, verb, resource):
        attributes = client.V1ResourceAttributes(namespace=ns, verb=verb, resource=resource)
        spec = client.V1SubjectAccessReviewSpec(user=user, resource_attributes=attributes)
        return auth.create_subject_access_review(client.V1SubjectAccessReview(spec=spec)).status.allowed

    assert not allowed("jane", "get", "pods")
    rbac = client.RbacAuthorizationV1Api()
    rule = client.V1PolicyRule(api_groups=[""], resources=["pods"], verbs=["get"])
    rbac.create_namespaced_role(ns, client.V1Role(metadata=client.V1ObjectMeta(name="r"), rules=[rule]))
    binding = client.V1RoleBinding(
        metadata=client.V1ObjectMeta(name="b"),
        role_ref=client.V1RoleRef(api_group="rbac.authorization.k8s.io", kind="Role", name="r"),
        subjects=[client.RbacV1Subject(kind="User", name="jane", api_group="rbac.authorization.k8s.io")],
    )
    rbac.create_namespaced_role_binding(ns, binding)
    assert allowed("jane", "get", "pods") and not allowed("jane", "list", "pods")


@check
def versions_and_groups(_):
    assert client.VersionApi().get_code().minor == "35"
    assert "apps" in [group.name for group in client.ApisApi().get_api_versions().groups]
    assert client.CoreV1Api().get_api_resources().resources


def main():
    config.load_kube_config()
    failed = 0
    for function in CHECKS:
        ns = "python-" + function.__name__.replace("_", "-")
        began = time.monotonic()
        try:
            body = client.V1Namespace(metadata=client.V1ObjectMeta(name=ns))
            client.CoreV1Api().create_namespace(body)
            function(ns)
        except Exception:
            failed += 1
            print(f"FAIL {function.__name__}\n{traceback.format_exc()}")
            continue
        print(f"ok   {function.__name__} {1000 * (time.monotonic() - began):.0f}ms")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
