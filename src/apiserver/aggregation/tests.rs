use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use rkind_pki::{ClusterPki, ServerNames};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::{
    TlsOptions, UserInfo,
    tests::{Fixture, eventually, fixture, fixture_of},
};

const SERVICES: &str = "/apis/apiregistration.k8s.io/v1/apiservices";

#[tokio::test]
async fn what_is_served_here_has_an_api_service() {
    let f = fixture().await;
    let list = f.get(SERVICES).await;
    let names: Vec<&str> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|i| i["metadata"]["name"].as_str())
        .collect();
    assert!(
        names.contains(&"v1.") && names.contains(&"v1.apps") && names.contains(&"v2.autoscaling"),
        "{names:?}"
    );
    assert!(!names.contains(&"v1.apiregistration.k8s.io"));
    let apps = eventually("a condition", async || {
        let apps = f.get(&format!("{SERVICES}/v1.apps")).await;
        apps["status"]["conditions"].is_array().then_some(apps)
    })
    .await;
    assert_eq!(
        apps["metadata"]["labels"]["kube-aggregator.kubernetes.io/automanaged"],
        "onstart"
    );
    assert_eq!(
        apps["spec"],
        json!({"group": "apps", "version": "v1", "groupPriorityMinimum": 17800, "versionPriority": 15})
    );
    let condition = &apps["status"]["conditions"][0];
    assert_eq!(
        [
            &condition["type"],
            &condition["status"],
            &condition["reason"],
            &condition["message"]
        ],
        [
            "Available",
            "True",
            "Local",
            "Local APIServices are always available"
        ]
    );
}

/// A server whose `batch/v1` is another server's, which listens on TLS.
struct Pair {
    main: Fixture,
    other: Fixture,
    port: u16,
    ca: String,
    stop: CancellationToken,
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn pair() -> Pair {
    let proxy = ClusterPki::generate().unwrap();
    let names = ServerNames {
        nodes: &[("localhost", [127, 0, 0, 1].into())],
        kubernetes_ip: [10, 96, 0, 1].into(),
        dns_domain: "cluster.local",
        extra: &["other.default.svc".to_owned()],
    };
    let certificates = proxy.control_plane(&names).unwrap();
    let pem = proxy.to_pem();
    let shown = certificates.front_proxy_client;
    let other = fixture_of(|options| options.front_proxy_ca_cert = pem.front_proxy_ca_cert.clone()).await;
    let tls = TlsOptions {
        certificate: certificates.apiserver.cert_pem,
        key: certificates.apiserver.key_pem,
        client_ca: pem.front_proxy_ca_cert,
        ..Default::default()
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (stop, server) = (CancellationToken::new(), other.server.clone());
    let (tls, token) = (tls.config().unwrap(), stop.clone());
    tokio::spawn(async move { server.serve(listener, tls, token).await });
    let main = fixture_of(|options| {
        options
            .features
            .aggregation
            .or_client(shown.cert_pem, shown.key_pem)
    })
    .await;
    Pair {
        main,
        other,
        port,
        ca: pem.ca_cert,
        stop,
    }
}

impl Pair {
    async fn register(&self) {
        use base64::Engine as _;
        let ca = base64::engine::general_purpose::STANDARD.encode(&self.ca);
        let uri = format!("{SERVICES}/v1.batch");
        let patch = json!({"spec": {"caBundle": ca,
            "service": {"namespace": "default", "name": "other", "port": self.port}}});
        let merge = [("content-type", "application/merge-patch+json")];
        let (code, answer) = self
            .main
            .send_as(self.main.admin(), "PATCH", &uri, patch, &merge)
            .await;
        assert_eq!(code, StatusCode::OK, "{answer}");
    }

    /// A Service that leads to this machine.
    async fn serve(&self) {
        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "other"},
            "spec": {"type": "ExternalName", "externalName": "localhost"}});
        let (code, answer) = self
            .main
            .send("POST", "/api/v1/namespaces/default/services", service)
            .await;
        assert_eq!(code, StatusCode::CREATED, "{answer}");
    }

    async fn condition(&self, reason: &str) -> Value {
        eventually(reason, async || {
            let service = self.main.get(&format!("{SERVICES}/v1.batch")).await;
            let condition = service["status"]["conditions"][0].clone();
            (condition["reason"] == reason).then_some(condition)
        })
        .await
    }
}

fn job(name: &str) -> Value {
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": {"template": {"spec": {
        "restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}})
}

const JOBS: &str = "/apis/batch/v1/namespaces/default/jobs";

#[tokio::test]
async fn a_group_version_is_handed_on() {
    let p = pair().await;
    p.register().await;
    let condition = p.condition("ServiceNotFound").await;
    assert_eq!(condition["status"], "False");
    assert_eq!(
        condition["message"],
        "service/other in \"default\" is not present"
    );
    let (code, text) = p.main.send("GET", JOBS, Value::Null).await;
    assert_eq!(
        (code, text.as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, Some("service unavailable\n"))
    );
    p.serve().await;
    let condition = p.condition("Passed").await;
    assert_eq!(condition["message"], "all checks passed");

    let (code, made) = p.main.send("POST", JOBS, job("a")).await;
    assert_eq!(code, StatusCode::CREATED, "{made}");
    assert_eq!(p.other.get(&format!("{JOBS}/a")).await["kind"], "Job");
    assert!(p.main.server.core.cached("batch/jobs", "default/a").is_none());

    // What this server allows, the other decides again, for the same user.
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": "devs"}, "subjects": [{"kind": "Group", "name": "devs", "apiGroup": "rbac.authorization.k8s.io"}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}});
    let bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    p.main.send("POST", bindings, binding.clone()).await;
    let jane = || p.main.server.in_process(UserInfo::new("jane", &["devs"]));
    let forged = [("x-remote-user", "root"), ("x-remote-group", "system:masters")];
    let (code, error) = p.main.send_as(jane(), "GET", JOBS, Value::Null, &forged).await;
    assert_eq!(code, StatusCode::FORBIDDEN, "{error}");
    assert_eq!(
        error["message"],
        "jobs.batch is forbidden: User \"jane\" cannot list resource \"jobs\" in API group \"batch\" in the namespace \"default\""
    );
    p.other.send("POST", bindings, binding).await;
    p.other.get(bindings).await;
    let (code, list) = p.main.send_as(jane(), "GET", JOBS, Value::Null, &[]).await;
    assert_eq!(
        (code, list["items"][0]["metadata"]["name"].as_str()),
        (StatusCode::OK, Some("a")),
        "{list}"
    );

    p.main
        .send("DELETE", "/api/v1/namespaces/default/services/other", Value::Null)
        .await;
    p.condition("ServiceNotFound").await;
    let (code, _) = p.main.send("GET", JOBS, Value::Null).await;
    assert_eq!(code, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn watches_and_documents_come_through() {
    let p = pair().await;
    p.register().await;
    p.serve().await;
    p.condition("Passed").await;

    let watch = Request::get(format!("{JOBS}?watch=true"))
        .body(Body::empty())
        .unwrap();
    let mut frames = p.main.admin().oneshot(watch).await.unwrap().into_body();
    p.other.send("POST", JOBS, job("b")).await;
    let frame = frames.frame().await.unwrap().unwrap().into_data().unwrap();
    let event: Value = serde_json::from_slice(&frame).unwrap();
    assert_eq!(
        (
            event["type"].as_str(),
            event["object"]["metadata"]["name"].as_str()
        ),
        (Some("ADDED"), Some("b"))
    );

    let accept = [(
        "accept",
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
    )];
    let versions = eventually("discovery", async || {
        let (_, list) = p
            .main
            .send_as(p.main.admin(), "GET", "/apis", Value::Null, &accept)
            .await;
        let items = list["items"].as_array()?.clone();
        let batch = items.iter().find(|i| i["metadata"]["name"] == "batch")?;
        (batch["versions"][0]["freshness"] == "Current").then(|| batch["versions"].clone())
    })
    .await;
    assert!(
        versions[0]["resources"]
            .as_array()
            .unwrap()
            .iter()
            .any(|r| r["resource"] == "cronjobs"),
        "{versions}"
    );
    let (own, merged) = (fixture().await.get("/apis").await, p.main.get("/apis").await);
    assert_eq!(
        own, merged,
        "the order of groups does not depend on who serves them"
    );
    assert_eq!(
        p.main.get("/apis/batch").await["preferredVersion"]["groupVersion"],
        "batch/v1"
    );

    let index = p.main.get("/openapi/v3").await;
    let url = index["paths"]["apis/batch/v1"]["serverRelativeURL"]
        .as_str()
        .unwrap()
        .to_owned();
    let document = p.main.get(&url).await;
    assert!(document["paths"][JOBS.replace("default", "{namespace}")].is_object());
    let swagger = p.main.get("/openapi/v2").await;
    assert!(
        swagger["paths"]["/apis/batch/v1/"].is_object()
            || swagger["paths"]["/apis/batch/v1/jobs"].is_object()
    );
}
