//! What ends at a kubelet, a pod or a Service: logs, exec, attach, port-forward, proxies, by kubectl over
//! WebSocket and SPDY and by the kube crate. The kubelet is upstream's streaming code in `go/kubelet.go`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Stdio};

use futures::StreamExt as _;
use http::Response;
use k8s_openapi::api::core::v1::Pod;
use kube::api::AttachParams;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::server::{Api, Server, pod, program};
use crate::tls::own_address;

/// A running kubelet; dropping it ends it.
struct Kubelet {
    child: Child,
    port: u16,
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Kubelet {
    /// Answers at this machine's address, with a certificate of the cluster's authority.
    fn start(server: &Server, node: &str) -> Kubelet {
        let pem = server.pki();
        let pki = rkind_pki::ClusterPki::from_pem(&pem).expect("keys");
        let serving = pki
            .node(node, &[own_address()])
            .expect("certificates")
            .kubelet_serving;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let files = [
            ("cert", &serving.cert_pem),
            ("key", &serving.key_pem),
            ("ca", &pem.ca_cert),
        ];
        let paths = files.map(|(name, text)| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("a file");
            path
        });
        let mut child = server
            .command(&program("API_GO_CLIENT"), &["kubelet"])
            .args(&paths)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the kubelet starts");
        // Once it has said its port, it has read its files.
        let mut line = String::new();
        let stdout = child.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("a port");
        let port = line
            .trim()
            .parse()
            .unwrap_or_else(|_| panic!("the kubelet said {line:?}"));
        Kubelet { child, port }
    }
}

/// A server with a node, a pod that runs there, and a Service.
struct Cluster<'a> {
    server: &'a Server,
    api: Api,
    _kubelet: Kubelet,
}

const NAMESPACE: &str = "streams";
const POD: &str = "/api/v1/namespaces/streams/pods/p";

async fn cluster(server: &Server) -> Cluster<'_> {
    let api = server.api().await;
    let kubelet = Kubelet::start(server, "streaming");
    let node = json!({"metadata": {"name": "streaming"}, "status": {
        "addresses": [{"type": "InternalIP", "address": own_address()}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": kubelet.port}}}});
    api.post("/api/v1/nodes", &node).await;
    let ns = api.namespace(NAMESPACE).await;
    let mut object = pod("p");
    object["spec"]["nodeName"] = json!("streaming");
    let mut running = api.post(&format!("{ns}/pods"), &object).await;
    running["status"]["phase"] = json!("Running");
    running["status"]["podIP"] = json!(own_address());
    running["status"]["podIPs"] = json!([{"ip": own_address()}]);
    running["status"]["conditions"] = json!([{"type": "Ready", "status": "True"}]);
    api.put(&format!("{POD}/status"), &running).await;
    Cluster {
        server,
        api,
        _kubelet: kubelet,
    }
}

impl Cluster<'_> {
    /// kubectl, over WebSocket or SPDY.
    fn kubectl(&self, websockets: bool, args: &[&str], input: &str) -> (i32, String, String) {
        let mut command = self.server.command(&program("KUBECTL_BIN"), &["-n", NAMESPACE]);
        let mut child = command
            .args(args)
            .env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", websockets.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kubectl starts");
        let mut stdin = child.stdin.take().expect("piped");
        stdin.write_all(input.as_bytes()).expect("it reads");
        drop(stdin);
        let output = child.wait_with_output().expect("kubectl ends");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            output.status.code().unwrap_or(-1),
            text(&output.stdout),
            text(&output.stderr),
        )
    }

    async fn logs(&self) {
        let (code, said, _) = self.kubectl(true, &["logs", "p", "--tail=5", "--timestamps"], "");
        assert_eq!(
            (code, said.as_str()),
            (0, "line of c\ntailLines=5&timestamps=true\n")
        );
        let (code, _, said) = self.kubectl(true, &["logs", "p", "-c", "nope"], "");
        assert_eq!(code, 1);
        assert!(said.contains("container nope is not valid for pod p"), "{said}");
    }

    /// What comes over a WebSocket, quoted as Go does; a refused handshake is none.
    fn messages(&self, path: &str, protocols: &[&str]) -> Vec<String> {
        let path = format!("{POD}/{path}");
        let args = [&["messages", path.as_str()], protocols].concat();
        let output = self.server.command(&program("API_GO_CLIENT"), &args).output();
        let output = output.expect("the client runs");
        let text = String::from_utf8(output.stdout).expect("text");
        text.lines().map(str::to_owned).collect()
    }

    /// Logs and commands in messages, as upstream's conformance tests ask for them.
    fn websockets(&self) {
        let line = "\"line of c\\ntailLines=5\\n\"";
        for (protocols, wanted) in [
            (&[][..], &["\"\"", line, "closed"][..]),
            (&["binary.k8s.io"], &["\"\"", line, "closed"]),
            (
                &["other", "base64.binary.k8s.io"],
                &["\"\"", "\"bGluZSBvZiBjCnRhaWxMaW5lcz01Cg==\"", "closed"],
            ),
            (&["other"], &[]),
        ] {
            assert_eq!(
                self.messages("log?tailLines=5", protocols),
                wanted,
                "{protocols:?}"
            );
        }
        let exec = |command: &str| format!("exec?stdout=1&stderr=1&command={command}");
        for (command, protocol, wanted) in [
            (
                "echo",
                "channel.k8s.io",
                &[
                    "\"\\x01\"",
                    "\"\\x01echo tty=false\\n\"",
                    "\"\\x02done\\n\"",
                    "closed",
                ][..],
            ),
            (
                "fail",
                "channel.k8s.io",
                &[
                    "\"\\x01\"",
                    "\"\\x03Internal error occurred: error executing command in container: it failed\"",
                    "closed",
                ],
            ),
            (
                "echo",
                "base64.channel.k8s.io",
                &["\"1\"", "\"1ZWNobyB0dHk9ZmFsc2UK\"", "\"2ZG9uZQo=\"", "closed"],
            ),
        ] {
            assert_eq!(
                self.messages(&exec(command), &[protocol]),
                wanted,
                "{command} {protocol}"
            );
        }
    }

    /// Commands with and without input, and one that fails.
    async fn commands(&self) {
        for websockets in [true, false] {
            let (code, said, done) = self.kubectl(websockets, &["exec", "p", "--", "echo", "a b"], "");
            assert_eq!(
                (code, said.as_str(), done.as_str()),
                (0, "echo a b tty=false\n", "done\n"),
                "{websockets}"
            );
            let (code, said, done) =
                self.kubectl(websockets, &["exec", "-i", "p", "--", "cat"], "to the end");
            assert_eq!(
                (code, said.as_str()),
                (0, "cat tty=false\nto the end"),
                "{websockets} {done}"
            );
            let (code, _, said) = self.kubectl(websockets, &["exec", "p", "--", "fail"], "");
            assert!(code != 0 && said.contains("it failed"), "{websockets}: {said}");
            // kubectl falls back to SPDY where messages are refused, and says so.
            let (code, _, said) = self.kubectl(websockets, &["exec", "-v=6", "p", "--", "echo"], "");
            assert!(code == 0 && !said.contains("fallback"), "{websockets}: {said}");
            let (code, said, done) = self.kubectl(websockets, &["attach", "-i", "p"], "hello");
            assert_eq!(code, 0, "{websockets}: {done}");
            assert!(said.contains("attached tty=false\nhello"), "{websockets}: {said}");
        }
        // Without the wish to upgrade there is nothing to answer.
        for (method, sub) in [
            ("GET", "exec?command=ls&stdout=true"),
            ("POST", "attach?stdout=true"),
            ("GET", "portforward?ports=80"),
        ] {
            let (code, _, said) = self
                .api
                .refused(method, &format!("{POD}/{sub}"), &Value::Null)
                .await;
            assert_eq!((code, said.as_str()), (400, "Upgrade request required"), "{sub}");
        }
    }

    /// What upstream's kubelet refuses before it speaks SPDY is said in messages: there the handshake is over.
    fn refused_in_messages(&self) {
        let said = self.messages("exec?command=ls", &["v5.channel.k8s.io"]);
        let [said, end] = said.as_slice() else {
            panic!("{said:?}");
        };
        let why = "Internal error occurred: unable to upgrade connection: you must specify at least 1 of stdin, stdout, stderr";
        assert!(said.starts_with("\"\\x03{") && said.contains(why), "{said}");
        assert_eq!(end, "closed");
    }

    /// The kube crate speaks WebSocket on its own.
    async fn commands_of_the_kube_crate(&self) {
        let pods: kube::Api<Pod> = kube::Api::namespaced(self.api.0.clone(), NAMESPACE);
        let params = AttachParams::default().stdin(true).stderr(false);
        for mut process in [
            pods.exec("p", ["cat"], &params).await.expect("exec"),
            pods.attach("p", &params).await.expect("attach"),
        ] {
            let mut stdin = process.stdin().expect("input");
            stdin.write_all(b"hello\n").await.expect("it reads");
            stdin.shutdown().await.expect("its end");
            let output = tokio_util::io::ReaderStream::new(process.stdout().expect("output"));
            let said: Vec<u8> = output.map(|chunk| chunk.expect("bytes").to_vec()).concat().await;
            let said = String::from_utf8(said).expect("text");
            assert!(said.ends_with("tty=false\nhello\n"), "{said}");
        }
    }

    /// Forwards a port by kubectl over SPDY and over SPDY in WebSocket messages, and by the kube crate over
    /// WebSocket, and asks through it.
    async fn port_forward(&self) {
        for websockets in [true, false] {
            self.port_forward_by_kubectl(websockets);
        }
        let pods: kube::Api<Pod> = kube::Api::namespaced(self.api.0.clone(), NAMESPACE);
        let mut forwarder = pods.portforward("p", &[8081]).await.expect("a forwarder");
        let mut stream = forwarder.take_stream(8081).expect("the port's stream");
        stream
            .write_all(b"GET / HTTP/1.0\r\n\r\n")
            .await
            .expect("it reads");
        let mut answer = vec![0; 1024];
        let mut read = 0;
        while !answer[..read].ends_with(b"port 8081") {
            let more = stream.read(&mut answer[read..]).await.expect("an answer");
            assert_ne!(more, 0, "{}", String::from_utf8_lossy(&answer));
            read += more;
        }
    }
    fn port_forward_by_kubectl(&self, websockets: bool) {
        let args = ["port-forward", "p", ":8080", "-n", NAMESPACE, "-v=6"];
        let mut child = self
            .server
            .command(&program("KUBECTL_BIN"), &args)
            .env("KUBECTL_PORT_FORWARD_WEBSOCKETS", websockets.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kubectl starts");
        let stdout = child.stdout.take().expect("piped");
        // Go ends a program whose standard output nobody reads any more.
        let mut lines = BufReader::new(stdout).lines();
        let line = lines.next().expect("a line").expect("text");
        // Forwarding from 127.0.0.1:41234 -> 8080
        let address = line.split_whitespace().nth(2).expect("an address");
        let answer = rkind_tests::http::get(address.parse().expect("an address"), "/");
        child.kill().expect("it runs");
        let output = child.wait_with_output().expect("it ends");
        drop(lines);
        assert!(
            answer.as_ref().is_ok_and(|text| text.ends_with("port 8080")),
            "{answer:?}"
        );
        // kubectl falls back to SPDY where messages are refused.
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("fallback"), "{websockets}: {said}");
    }
}

/// Every verb on a proxied path, each answered by the other side.
async fn proxied(api: &Api, path: &str, seen: &str) {
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
        let body = if method == "GET" {
            String::new()
        } else {
            "body".to_owned()
        };
        let headers = [("content-type", "text/plain")];
        let (code, said) = api
            .ask(
                method,
                &format!("{path}?x=1"),
                &headers,
                body.clone().into_bytes(),
            )
            .await;
        assert_eq!(code, 200, "{method} {path}: {said}");
        assert_eq!(said, format!("{method} {seen}?x=1 {body}"), "{path}");
    }
}

/// A server in plain HTTP at the machine's own address that says what it was asked.
async fn backend() -> std::net::SocketAddr {
    use http_body_util::BodyExt as _;
    let listener = tokio::net::TcpListener::bind((own_address(), 0))
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service =
                hyper::service::service_fn(|request: http::Request<hyper::body::Incoming>| async move {
                    let (method, uri) = (request.method().clone(), request.uri().clone());
                    let secret = request.headers().contains_key("authorization");
                    let body = request
                        .into_body()
                        .collect()
                        .await
                        .map(|b| b.to_bytes())
                        .unwrap_or_default();
                    if uri.path() == "/page" {
                        let page = Response::builder()
                            .header("content-type", "text/html")
                            .header("access-control-allow-origin", "*");
                        return Ok(page
                            .body(r#"<a href="/rewriteme">test</a>"#.to_owned())
                            .expect("a page"));
                    }
                    if uri.path() == "/moved" {
                        let moved = Response::builder().status(302).header("location", "/page?x=1");
                        return Ok(moved.body(String::new()).expect("a redirect"));
                    }
                    let said = format!("{method} {uri} {}", String::from_utf8_lossy(&body));
                    let said = if secret {
                        "it was told a secret".to_owned()
                    } else {
                        said
                    };
                    Ok::<_, std::convert::Infallible>(Response::new(said))
                });
            let io = hyper_util::rt::TokioIo::new(stream);
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(io, service));
        }
    });
    address
}

impl Cluster<'_> {
    /// Asked with a token, which stays here.
    async fn proxies(&self) {
        let ns = format!("/api/v1/namespaces/{NAMESPACE}");
        let binding = json!({"metadata": {"name": "proxies"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole", "name": "cluster-admin"}, "subjects": [{"kind": "Group", "apiGroup": "rbac.authorization.k8s.io",
                "name": "system:serviceaccounts:streams"}]});
        self.api
            .post("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", &binding)
            .await;
        self.api
            .post(
                &format!("{ns}/serviceaccounts"),
                &json!({"metadata": {"name": "robot"}}),
            )
            .await;
        let token = self
            .server
            .kubectl(&["create", "token", "robot", "-n", NAMESPACE]);
        let api = &Api(self.server.client_with_token(Some(token.trim().to_owned())).await);
        let address = backend().await;
        let port = address.port();
        proxied(api, "/api/v1/nodes/streaming/proxy/a/b%20c", "/a/b%20c").await;
        proxied(api, &format!("{ns}/pods/http:p:{port}/proxy/a"), "/a").await;
        let through = format!("{ns}/pods/http:p:{port}/proxy");
        let (code, said) = api.ask("GET", &format!("{through}/page"), &[], Vec::new()).await;
        assert_eq!(code, 200);
        assert_eq!(said, format!("<a href=\"{through}/rewriteme\">test</a>"));
        let moved = api.raw("GET", &format!("{through}/moved"), &[], Vec::new()).await;
        assert_eq!(moved.status(), 302);
        assert_eq!(moved.headers()["location"], format!("{through}/page?x=1"));
        let service = json!({"metadata": {"name": "web"}, "spec": {"ports": [{"name": "http", "port": 80}]}});
        api.post(&format!("{ns}/services"), &service).await;
        let path = format!("{ns}/services/web:http/proxy/a");
        let (code, _, said) = api.refused("GET", &path, &Value::Null).await;
        assert_eq!((code, said.as_str()), (404, "services \"web\" not found"));
        // An endpoint that is no pod of the namespace could be anything.
        let mut slice = json!({"metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}}, "addressType": "IPv4",
            "endpoints": [{"addresses": [address.ip()], "conditions": {"ready": true}}], "ports": [{"name": "http", "port": port}]});
        let slices = format!("/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices");
        api.post(&slices, &slice).await;
        let (code, reason, said) = api.refused("GET", &path, &Value::Null).await;
        assert_eq!((code, reason.as_str()), (503, "ServiceUnavailable"));
        assert_eq!(said, "no endpoints available for service \"web:http\"");
        slice["metadata"]["name"] = json!("web-2");
        slice["endpoints"][0]["targetRef"] = json!({"kind": "Pod", "namespace": NAMESPACE, "name": "p"});
        api.post(&slices, &slice).await;
        for name in ["web:http", "web:80"] {
            proxied(api, &format!("{ns}/services/{name}/proxy/a"), "/a").await;
        }
        for (path, code, wanted) in [
            // A port with a name is not found without it.
            (
                format!("{ns}/services/web/proxy/a"),
                503,
                "no endpoints available for service \"web\"",
            ),
            (
                format!("{ns}/services/web:81/proxy/a"),
                503,
                "no service port 81 found for service \"web\"",
            ),
            (
                format!("{ns}/services/ftp:web:80/proxy"),
                400,
                "invalid service request \"ftp:web:80\"",
            ),
            (
                format!("{ns}/pods/ftp:p:1/proxy"),
                400,
                "invalid pod request \"ftp:p:1\"",
            ),
            (
                "/api/v1/nodes/ftp:streaming:1/proxy".to_owned(),
                400,
                "invalid node request \"ftp:streaming:1\"",
            ),
        ] {
            let (found, _, said) = api.refused("GET", &path, &Value::Null).await;
            assert_eq!((found, said.as_str()), (code, wanted), "{path}");
        }
        // What is on this machine only is not for everybody who may write a status.
        let inner = json!({"metadata": {"name": "inner"}, "status": {"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}]}});
        api.post("/api/v1/nodes", &inner).await;
        let (code, _, said) = api
            .refused("GET", "/api/v1/nodes/inner/proxy/", &Value::Null)
            .await;
        assert_eq!((code, said.as_str()), (400, "address not allowed"));
        proxied(api, &format!("/api/v1/nodes/streaming:{port}/proxy/a"), "/a").await;
        // What there is no address of is said before a page is asked to come with a slash.
        api.post(&format!("{ns}/pods"), &pod("bare")).await;
        let (code, _, said) = api
            .refused("GET", &format!("{ns}/pods/bare/proxy"), &Value::Null)
            .await;
        assert_eq!((code, said.as_str()), (400, "address not allowed"));
        for inner in ["127.0.0.1", "169.254.169.254"] {
            api.merge(
                &format!("{POD}/status"),
                json!({"status": {"podIP": inner, "podIPs": [{"ip": inner}]}}),
            )
            .await;
            let (code, _, said) = api
                .refused("GET", &format!("{ns}/pods/p:{port}/proxy/"), &Value::Null)
                .await;
            assert_eq!((code, said.as_str()), (400, "address not allowed"), "{inner}");
        }
    }
}

/// Asks all of it; gives the endpoints that were seen to answer.
pub(crate) async fn walk(server: &Server) -> Vec<String> {
    let cluster = cluster(server).await;
    cluster.logs().await;
    cluster.websockets();
    cluster.commands().await;
    cluster.refused_in_messages();
    cluster.commands_of_the_kube_crate().await;
    cluster.port_forward().await;
    cluster.proxies().await;
    let mut reached = vec!["v1 pods/log get".to_owned()];
    for sub in ["pods/exec", "pods/attach", "pods/portforward"] {
        reached.extend(["create", "get"].map(|verb| format!("v1 {sub} {verb}")));
    }
    for sub in ["nodes/proxy", "pods/proxy", "services/proxy"] {
        let verbs = ["create", "delete", "get", "patch", "update"];
        reached.extend(verbs.map(|verb| format!("v1 {sub} {verb}")));
    }
    reached
}
