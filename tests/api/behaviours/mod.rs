//! Upstream's conformance behaviours of api-machinery and auth, against a server alone.
//!
//! `testdata/behaviours.txt` lists them. A [`Case`] names the behaviours it shows, and [`areas!`]
//! makes of one line both the test that runs an area's cases and the claim to what they show:
//! nothing is claimed that does not run. What a behaviour needs of a node (a token file in a
//! container, say) is shown on real nodes; here it is what the server does for it.

mod accounts;
mod aggregation;
mod definitions;
mod discovery;
mod fields;
mod garbage;
mod lists;
mod namespaces;
mod operations;
mod policies;
mod publishing;
mod quotas;
mod reviews;
mod sample_webhook;
mod versions;
mod watches;
mod webhook_configurations;
mod webhooks;
mod webhooks_custom;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::LocalBoxFuture;
use serde_json::{Value, json};
use tokio::task::LocalSet;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::server::{Api, Server};

/// What shows one or several behaviours, or something of the same area that upstream does not test.
pub(crate) struct Case {
    name: &'static str,
    /// Ids of `testdata/behaviours.txt`.
    shows: &'static [&'static str],
    run: fn(Arc<Ground>) -> LocalBoxFuture<'static, ()>,
}

/// `function: ["behaviour", …]` for each case of a file.
macro_rules! cases {
    ($($function:ident: [$($shows:literal),* $(,)?]),* $(,)?) => {
        pub(crate) const CASES: &[crate::behaviours::Case] = &[$(crate::behaviours::Case {
            name: stringify!($function),
            shows: &[$($shows),*],
            run: |ground| Box::pin($function(ground)),
        }),*];
    };
}
pub(crate) use cases;

/// What the cases of an area share: they run at the same time, each in a namespace of its own.
pub(crate) struct Ground {
    pub(crate) server: Server,
    pub(crate) api: Api,
    webhook: tokio::sync::OnceCell<sample_webhook::SampleWebhook>,
    controllers: Option<DropGuard>,
}

impl Ground {
    async fn server() -> Ground {
        Ground::on(Server::start()).await
    }

    async fn on(server: Server) -> Ground {
        let api = server.api().await;
        Ground {
            server,
            api,
            webhook: tokio::sync::OnceCell::new(),
            controllers: None,
        }
    }

    /// A server with service accounts, and the controllers beside it, over HTTPS.
    async fn with_controllers() -> Ground {
        let server = Server::start_with(&["--enable-admission-plugins=ServiceAccount"]);
        let stop = CancellationToken::new();
        let client = rkind_client::from_kubeconfig(server.kubeconfig())
            .await
            .expect("a client");
        let options = rkind_controllers::Options {
            root_ca_pem: server.pki().ca_cert,
            ..Default::default()
        };
        tokio::spawn(rkind_controllers::run(client, options, stop.clone()));
        Ground {
            controllers: Some(stop.drop_guard()),
            ..Ground::on(server).await
        }
    }

    /// A new namespace, its service account there if controllers make one; gives its path.
    pub(crate) async fn namespace(&self, name: &str) -> String {
        let path = self.api.namespace(name).await;
        if self.controllers.is_some() {
            let account = format!("{path}/serviceaccounts/default");
            self.api.until(&account, |_| true).await;
        }
        path
    }

    /// The webhook of the area, started with its first case that asks for it.
    pub(crate) async fn webhook(&self) -> &sample_webhook::SampleWebhook {
        self.webhook
            .get_or_init(|| sample_webhook::SampleWebhook::start(&self.api))
            .await
    }

    /// Runs kubectl without holding up the other cases; its standard output when it succeeded.
    pub(crate) async fn kubectl(self: &Arc<Self>, args: &[&str], input: &str) -> String {
        let (code, stdout, stderr) = self.try_kubectl(args, input).await;
        assert_eq!(code, 0, "kubectl {args:?}\nstdout:\n{stdout}\nstderr:\n{stderr}");
        stdout
    }

    /// Runs kubectl; exit code, standard output and standard error.
    pub(crate) async fn try_kubectl(self: &Arc<Self>, args: &[&str], input: &str) -> (i32, String, String) {
        let ground = self.clone();
        let args: Vec<String> = args.iter().map(|&word| word.to_owned()).collect();
        let input = input.to_owned();
        tokio::task::spawn_blocking(move || {
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            ground.server.try_kubectl(&args, &input)
        })
        .await
        .expect("kubectl was run")
    }
}

/// Asks every few milliseconds until there is an answer.
///
/// # Panics
/// After 20 s.
pub(crate) async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(tokio::time::Instant::now() < deadline, "not within 20 s: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

impl Api {
    /// The object at a path, once it is as it should be.
    pub(crate) async fn until(&self, path: &str, good: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let found = eventually_or(async || {
            let (code, object) = self.send("GET", path, &Value::Null).await;
            last = object;
            (code.is_success() && good(&last)).then(|| last.clone())
        })
        .await;
        found.unwrap_or_else(|| panic!("{path} is still {last:#}"))
    }

    /// Waits until a path leads to nothing.
    pub(crate) async fn until_gone(&self, path: &str) {
        let mut last = Value::Null;
        let gone = eventually_or(async || {
            let (code, object) = self.send("GET", path, &Value::Null).await;
            last = object;
            (code == 404).then_some(())
        })
        .await;
        assert!(gone.is_some(), "{path} stays: {last:#}");
    }

    /// A merge patch that must succeed.
    pub(crate) async fn merge(&self, path: &str, patch: Value) -> Value {
        Api::expect(path, self.send("PATCH", path, &patch).await)
    }
}

/// As [`eventually`], but nothing after 20 s.
async fn eventually_or<T>(mut ask: impl AsyncFnMut() -> Option<T>) -> Option<T> {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while tokio::time::Instant::now() < deadline {
        if let Some(answer) = ask().await {
            return Some(answer);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    None
}

/// The names in a list.
pub(crate) fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().expect("items");
    items
        .iter()
        .filter_map(|i| i["metadata"]["name"].as_str())
        .collect()
}

pub(crate) fn message(status: &Value) -> &str {
    status["message"].as_str().unwrap_or_default()
}

/// A Deployment, ReplicaSet or ReplicationController of `replicas` pods.
pub(crate) fn workload(api_version: &str, kind: &str, name: &str, replicas: u32) -> Value {
    let labels = json!({"app": name});
    let selector = match kind {
        "ReplicationController" => labels.clone(),
        _ => json!({"matchLabels": labels}),
    };
    json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "labels": labels}, "spec": {
        "replicas": replicas, "selector": selector,
        "template": {"metadata": {"labels": labels},
            "spec": {"containers": [{"name": "c", "image": "registry.example/c:1"}]}}}})
}

/// Runs cases side by side.
///
/// # Panics
/// Naming the cases that failed; what they said stands above.
async fn run(ground: Ground, tables: &[&[Case]]) {
    let ground = Arc::new(ground);
    let cases = tables.iter().copied().flatten();
    let failed = LocalSet::new()
        .run_until(async {
            let start = |case: &Case| (case.name, tokio::task::spawn_local((case.run)(ground.clone())));
            let running: Vec<_> = cases.map(start).collect();
            let mut failed = Vec::new();
            for (name, case) in running {
                if case.await.is_err() {
                    failed.push(name);
                }
            }
            failed
        })
        .await;
    assert!(failed.is_empty(), "failed: {failed:?}");
}

/// `test: ground => tables;` for each area.
macro_rules! areas {
    ($($area:ident: $ground:ident => $($table:ident),+;)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $area() {
                run(Ground::$ground().await, &[$($table::CASES),+]).await;
            }
        )*

        /// What the tests above show.
        fn claimed() -> BTreeSet<&'static str> {
            let tables: &[&[Case]] = &[$($($table::CASES),+),*];
            let cases = tables.iter().copied().flatten();
            cases.flat_map(|case| case.shows.iter().copied()).collect()
        }
    };
}

areas! {
    admission_webhooks: server => webhooks, webhooks_custom, webhook_configurations;
    admission_policies: server => policies;
    custom_resources: server => definitions, versions, publishing, fields;
    discovery_and_aggregation: server => discovery, aggregation;
    lists_and_watches: server => lists, watches;
    operations_of_kinds: server => operations, reviews;
    controlled: with_controllers => garbage, namespaces, quotas, accounts;
}

/// Api-machinery has 95 behaviours in v1.35, auth has 10.
const LISTED: usize = 95 + 10;

#[test]
fn every_behaviour_is_claimed() {
    let mut listed = BTreeSet::new();
    let mut upstream = BTreeSet::new();
    for line in include_str!("../testdata/behaviours.txt").lines() {
        if line.starts_with('#') {
            continue;
        }
        let (id, name) = line.split_once(' ').expect("an id and upstream's name");
        assert!(listed.insert(id), "{id} is listed twice");
        assert!(upstream.insert(name.trim_start()), "{name} is listed twice");
    }
    assert_eq!(listed.len(), LISTED);
    let claimed = claimed();
    let missing: Vec<_> = listed.difference(&claimed).collect();
    assert!(missing.is_empty(), "no case shows {missing:?}");
    let unknown: Vec<_> = claimed.difference(&listed).collect();
    assert!(unknown.is_empty(), "cases show what is not listed: {unknown:?}");
}
