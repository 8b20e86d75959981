use super::*;

fn parse(method: &str, uri: &str) -> RequestInfo {
    let (path, query) = uri.split_once('?').map_or((uri, None), |(p, q)| (p, Some(q)));
    RequestInfo::parse(&method.parse().unwrap(), path, query)
}

#[test]
fn follows_upstreams_table() {
    // method, uri, verb, group, version, namespace, resource, subresource, name
    let table = [
        (
            "GET",
            "/api/v1/namespaces",
            "list",
            "",
            "v1",
            "",
            "namespaces",
            "",
            "",
        ),
        (
            "GET",
            "/api/v1/namespaces/other",
            "get",
            "",
            "v1",
            "other",
            "namespaces",
            "",
            "other",
        ),
        (
            "GET",
            "/api/v1/namespaces/other/pods",
            "list",
            "",
            "v1",
            "other",
            "pods",
            "",
            "",
        ),
        (
            "GET",
            "/api/v1/namespaces/other/pods/foo",
            "get",
            "",
            "v1",
            "other",
            "pods",
            "",
            "foo",
        ),
        (
            "HEAD",
            "/api/v1/namespaces/other/pods/foo",
            "get",
            "",
            "v1",
            "other",
            "pods",
            "",
            "foo",
        ),
        ("GET", "/api/v1/pods", "list", "", "v1", "", "pods", "", ""),
        ("POST", "/api/v1/pods", "create", "", "v1", "", "pods", "", ""),
        ("GET", "/api/v1/watch/pods", "watch", "", "v1", "", "pods", "", ""),
        (
            "GET",
            "/api/v1/pods?watch=true",
            "watch",
            "",
            "v1",
            "",
            "pods",
            "",
            "",
        ),
        (
            "GET",
            "/api/v1/pods?watch=false",
            "list",
            "",
            "v1",
            "",
            "pods",
            "",
            "",
        ),
        (
            "GET",
            "/api/v1/watch/namespaces/other/pods",
            "watch",
            "",
            "v1",
            "other",
            "pods",
            "",
            "",
        ),
        (
            "GET",
            "/api/v1/namespaces/a/pods?fieldSelector=metadata.name%3Dx&watch=1",
            "watch",
            "",
            "v1",
            "a",
            "pods",
            "",
            "x",
        ),
        (
            "PUT",
            "/api/v1/namespaces/other/finalize",
            "update",
            "",
            "v1",
            "other",
            "namespaces",
            "finalize",
            "other",
        ),
        (
            "PUT",
            "/api/v1/namespaces/other/pods/foo/status",
            "update",
            "",
            "v1",
            "other",
            "pods",
            "status",
            "foo",
        ),
        (
            "GET",
            "/api/v1/namespaces/other/pods/foo/proxy/a/b",
            "get",
            "",
            "v1",
            "other",
            "pods",
            "proxy",
            "foo",
        ),
        (
            "DELETE",
            "/api/v1/namespaces/other/pods",
            "deletecollection",
            "",
            "v1",
            "other",
            "pods",
            "",
            "",
        ),
        (
            "GET",
            "/apis/apps/v1/namespaces/a/deployments/d/scale",
            "get",
            "apps",
            "v1",
            "a",
            "deployments",
            "scale",
            "d",
        ),
        (
            "PATCH",
            "/apis/apps/v1/namespaces/a/deployments/d",
            "patch",
            "apps",
            "v1",
            "a",
            "deployments",
            "",
            "d",
        ),
    ];
    for (method, uri, verb, group, version, namespace, resource, subresource, name) in table {
        let info = parse(method, uri);
        assert!(info.is_resource, "{uri}");
        let got = (
            info.verb.as_str(),
            info.group.as_str(),
            info.version.as_str(),
            info.namespace.as_str(),
            info.resource.as_str(),
            info.subresource.as_str(),
            info.name.as_str(),
        );
        assert_eq!(
            got,
            (verb, group, version, namespace, resource, subresource, name),
            "{method} {uri}"
        );
    }
}

#[test]
fn paths_for_no_resource() {
    for uri in [
        "/",
        "/version",
        "/healthz/ping",
        "/api",
        "/api/v1",
        "/apis",
        "/apis/apps",
        "/apis/apps/v1",
        "/openapi/v3/apis/apps/v1",
    ] {
        let info = parse("GET", uri);
        assert!(!info.is_resource, "{uri}");
        assert_eq!(info.verb, "get");
    }
}
