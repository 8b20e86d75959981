//! One `rkind apiserver` on a folder of its own, and ways to ask it.

use std::io::{BufRead as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use http::{Method, Request, Response, StatusCode};
use kube::Client;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long a watch may say nothing while a test waits for its events.
const SILENCE: std::time::Duration = std::time::Duration::from_secs(30);

/// A running server; dropping it ends it.
pub(crate) struct Server {
    child: Child,
    folder: TempDir,
    kubeconfig: PathBuf,
}

/// A program that the set-up names.
///
/// # Panics
/// Where the set-up has not.
pub(crate) fn program(variable: &str) -> PathBuf {
    std::env::var_os(variable)
        .unwrap_or_else(|| {
            panic!("{variable} is not set: `cargo xtask test --api` builds what it names and sets it")
        })
        .into()
}

impl Server {
    pub(crate) fn start() -> Server {
        Server::start_with(&[])
    }

    /// With further flags.
    pub(crate) fn start_with(flags: &[&str]) -> Server {
        Server::start_in(tempfile::tempdir().expect("a temporary folder"), flags)
    }

    fn start_in(folder: TempDir, flags: &[&str]) -> Server {
        let binary = program("RKIND_BIN");
        let mut child = Command::new(&binary)
            .args(["apiserver", "--secure-port=0", "--output=json", "--data-dir"])
            .arg(folder.path().join("data"))
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{} did not start: {error}", binary.display()));
        // Printed once it is ready; ends early when it never will be.
        let stdout = child.stdout.take().expect("piped");
        let mut said = String::new();
        for line in std::io::BufReader::new(stdout).lines().map_while(Result::ok) {
            said.push_str(&line);
            if line == "}" {
                break;
            }
        }
        let ready: Value = serde_json::from_str(&said)
            .unwrap_or_else(|error| panic!("the server said {said:?}, which is no JSON: {error}"));
        let kubeconfig = ready["kubeconfig"].as_str().expect("a path").into();
        Server {
            child,
            folder,
            kubeconfig,
        }
    }

    /// Ends it as SIGTERM does and starts it again on the same data.
    pub(crate) fn restart(mut self) -> Server {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"));
        nix::sys::signal::kill(pid, nix::sys::signal::SIGTERM).expect("it runs");
        let status = self.child.wait().expect("it ends");
        assert!(status.success(), "{status}");
        let empty = tempfile::tempdir().expect("a temporary folder");
        let folder = std::mem::replace(&mut self.folder, empty);
        Server::start_in(folder, &[])
    }

    /// Path of the administrator's kubeconfig.
    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Authorities and keys of the cluster that this server is.
    pub(crate) fn pki(&self) -> rkind_pki::ClusterPkiPem {
        let text = std::fs::read(self.folder.path().join("data/pki.json")).expect("keys");
        serde_json::from_slice(&text).expect("keys")
    }

    /// Whether the process is still there.
    pub(crate) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The folder with its data.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Memory in use, in KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        number.and_then(|kib| kib.parse().ok()).expect("VmRSS")
    }

    /// The administrator, over HTTPS.
    pub(crate) async fn client(&self) -> Client {
        self.client_as(|_| {}).await
    }

    /// Somebody whose configuration is made from the administrator's.
    pub(crate) async fn client_as(&self, change: impl FnOnce(&mut kube::Config)) -> Client {
        let kubeconfig = Kubeconfig::read_from(&self.kubeconfig).expect("a kubeconfig");
        let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
            .await
            .expect("a usable kubeconfig");
        // A refusal is an answer here.
        config.default_retry = false;
        change(&mut config);
        Client::try_from(config).expect("a client")
    }

    /// Somebody without the administrator's certificate.
    pub(crate) async fn client_with_token(&self, token: Option<String>) -> Client {
        self.client_as(|config| {
            config.auth_info = kube::config::AuthInfo {
                token: token.map(Into::into),
                ..Default::default()
            };
        })
        .await
    }

    /// The server, asked as the administrator.
    pub(crate) async fn api(&self) -> Api {
        Api(self.client().await)
    }

    /// A program with this server as its cluster.
    pub(crate) fn command(&self, program: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(args)
            .stdin(Stdio::null())
            .env("HOME", self.folder.path())
            .env("KUBECONFIG", &self.kubeconfig);
        command
    }

    /// Runs kubectl; its standard output when it succeeded.
    #[track_caller]
    pub(crate) fn kubectl(&self, args: &[&str]) -> String {
        let (code, stdout, stderr) = self.try_kubectl(args, "");
        assert_eq!(code, 0, "kubectl {args:?}\nstdout:\n{stdout}\nstderr:\n{stderr}");
        stdout
    }

    /// Runs kubectl with a file on standard input.
    #[track_caller]
    pub(crate) fn kubectl_with(&self, args: &[&str], input: &str) -> String {
        let (code, stdout, stderr) = self.try_kubectl(args, input);
        assert_eq!(code, 0, "kubectl {args:?}\nstdout:\n{stdout}\nstderr:\n{stderr}");
        stdout
    }

    /// Runs kubectl; exit code, standard output and standard error.
    pub(crate) fn try_kubectl(&self, args: &[&str], input: &str) -> (i32, String, String) {
        let kubectl = program("KUBECTL_BIN");
        let mut child = self
            .command(&kubectl, args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{} did not start: {error}", kubectl.display()));
        let mut stdin = child.stdin.take().expect("piped");
        // Whoever does not read its input has ended, and says why.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let Output {
            status,
            stdout,
            stderr,
        } = child.wait_with_output().expect("kubectl ends");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (status.code().unwrap_or(-1), text(&stdout), text(&stderr))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The server as one identity sees it: requests as they stand, answers as they come.
#[derive(Clone)]
pub(crate) struct Api(pub(crate) Client);

impl Api {
    /// Sends a request as it is.
    pub(crate) async fn raw(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Response<Body> {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body)).expect("a request");
        self.0
            .send(request)
            .await
            .unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Code and body of an answer; a body that is no JSON as a string.
    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> (StatusCode, Value) {
        let response = self.raw(method, path, headers, body).await;
        let code = response.status();
        let bytes = response.into_body().collect_bytes().await.expect("a whole body");
        let value = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| json!(String::from_utf8_lossy(&bytes).into_owned()));
        (code, value)
    }

    /// Sends JSON, if any.
    pub(crate) async fn send(&self, method: &str, path: &str, body: &Value) -> (StatusCode, Value) {
        let bytes = if body.is_null() {
            Vec::new()
        } else {
            body.to_string().into_bytes()
        };
        let kind = match method {
            "PATCH" => "application/merge-patch+json",
            _ => "application/json",
        };
        self.ask(method, path, &[("content-type", kind)], bytes).await
    }

    #[track_caller]
    pub(crate) fn expect(what: &str, (code, value): (StatusCode, Value)) -> Value {
        assert!(code.is_success(), "{what}: {code} {value:#}");
        value
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        Api::expect(path, self.send("GET", path, &Value::Null).await)
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Value {
        Api::expect(path, self.send("POST", path, body).await)
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Value {
        Api::expect(path, self.send("PUT", path, body).await)
    }

    pub(crate) async fn delete(&self, path: &str) -> Value {
        Api::expect(path, self.send("DELETE", path, &Value::Null).await)
    }

    /// Whether an answer is that of a path at which nothing is served at all, which is no `Status`.
    pub(crate) fn is_page(code: StatusCode, answer: &Value) -> bool {
        code == 404 && matches!(answer.as_str(), Some("404 page not found\n" | ""))
    }

    /// A refusal: its code, reason and message.
    pub(crate) async fn refused(&self, method: &str, path: &str, body: &Value) -> (u16, String, String) {
        let (code, status) = self.send(method, path, body).await;
        assert!(!code.is_success(), "{method} {path} is not refused: {status:#}");
        if Api::is_page(code, &status) {
            return (404, "NotFound".into(), String::new());
        }
        assert_eq!(status["kind"], "Status", "{method} {path}: {code} {status:#}");
        let text = |field: &str| status[field].as_str().unwrap_or_default().to_owned();
        (code.as_u16(), text("reason"), text("message"))
    }

    /// A new namespace; gives its path, such as `/api/v1/namespaces/a`.
    pub(crate) async fn namespace(&self, name: &str) -> String {
        let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        self.post("/api/v1/namespaces", &body).await;
        format!("/api/v1/namespaces/{name}")
    }

    /// Events of a watch until `enough` says so.
    ///
    /// # Panics
    /// When none comes for so long that no busy machine explains it.
    pub(crate) async fn events(&self, path: &str, enough: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        use futures::{AsyncBufReadExt as _, StreamExt as _};
        let request = Request::get(path).body(Vec::new()).expect("a request");
        let reader = self.0.request_stream(request).await.expect("a watch");
        let mut lines = reader.lines();
        let mut events: Vec<Value> = Vec::new();
        while !enough(&events) {
            match tokio::time::timeout(SILENCE, lines.next()).await {
                Ok(Some(Ok(line))) => events.push(serde_json::from_str(&line).expect("an event")),
                Ok(Some(Err(error))) => panic!(
                    "{path}: {error} after {} events, the last {:#?}",
                    events.len(),
                    events.last()
                ),
                Ok(None) => break,
                Err(_) => panic!(
                    "{path}: no more than {} events, the last {:#?}",
                    events.len(),
                    events.last()
                ),
            }
        }
        events
    }
}

pub(crate) fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": "v"}})
}

pub(crate) fn pod(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"containers": [{"name": "c", "image": "registry.example/c:1"}]}})
}
