//! Requests in their order.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use regex::Regex;
use rkind_tests::servers::Target;
use serde_json::{Value, json};

use crate::ask::{Answer, Client, Request};

/// Connections per server for requests sent side by side.
const SIDE_BY_SIDE: usize = 8;
/// Requests of one connection until its answers are compared.
const IN_A_ROW: usize = 50;
/// Longest wait for an object to settle, and how often it must be seen unchanged.
const SETTLE: Duration = Duration::from_secs(5);
const QUIET: usize = 6;
/// Where every namespaced object is.
pub(crate) const NAMESPACE: &str = "compare";
/// In a body: the resource version that the script's last kept object has on this server.
pub(crate) const MADE_VERSION: &str = "$resourceVersion";

/// A request and what it is called, which `--focus` and `known.txt` match.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// `<resource> <what is done> <path in the object> <how it is changed>`
    pub(crate) name: String,
    pub(crate) request: Request,
}

impl Case {
    /// A request with a JSON body; none for null.
    pub(crate) fn new(name: String, method: &'static str, path: String, body: &Value) -> Case {
        let body = if body.is_null() {
            Bytes::new()
        } else {
            body.to_string().into()
        };
        Case::of(name, method, path, body)
    }

    /// A request with a body as it is.
    pub(crate) fn of(name: String, method: &'static str, path: String, body: Bytes) -> Case {
        let kind = match method {
            "PATCH" => "application/merge-patch+json",
            _ => "application/json",
        };
        let headers = vec![
            ("accept", "application/json".to_owned()),
            ("content-type", kind.to_owned()),
        ];
        Case {
            name,
            request: Request {
                method,
                path,
                headers,
                body,
            },
        }
    }

    /// With another media type than the method's.
    pub(crate) fn content_type(mut self, kind: &str) -> Case {
        self.request.headers.retain(|(name, _)| *name != "content-type");
        self.request.headers.push(("content-type", kind.to_owned()));
        self
    }

    /// With another form of the answer than JSON.
    pub(crate) fn accept(mut self, form: &str) -> Case {
        self.request.headers.retain(|(name, _)| *name != "accept");
        self.request.headers.push(("accept", form.to_owned()));
        self
    }
}

/// Cases that leave nothing behind are sent side by side.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Sent alone. `keep`: the answer's resource version stands for [`MADE_VERSION`] from now on.
    One {
        case: Case,
        keep: bool,
        focused: bool,
    },
    /// Waits until the object at the path is as its own server wants it: what controllers in an API
    /// server write into a new object counts versions too. Its version is kept.
    Settle(String),
    Many(Vec<Case>),
}

#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) name: String,
    pub(crate) steps: Vec<Step>,
}

impl Script {
    pub(crate) fn new(name: &str) -> Script {
        Script {
            name: name.to_owned(),
            steps: vec![],
        }
    }

    pub(crate) fn one(&mut self, case: Case) {
        self.steps.push(Step::One {
            case,
            keep: false,
            focused: true,
        });
    }

    pub(crate) fn keep(&mut self, case: Case) {
        self.steps.push(Step::One {
            case,
            keep: true,
            focused: true,
        });
    }

    /// Leaves only cases whose names match, and what is sent alone: others build on it.
    /// Whether anything is left to compare.
    pub(crate) fn focus(&mut self, focus: &Regex) -> bool {
        let mut any = self.name.is_empty();
        for step in &mut self.steps {
            match step {
                Step::One { case, focused, .. } => {
                    *focused = focus.is_match(&case.name);
                    any |= *focused;
                }
                Step::Settle(_) => {}
                Step::Many(cases) => {
                    cases.retain(|case| focus.is_match(&case.name));
                    any |= !cases.is_empty();
                }
            }
        }
        any
    }

    /// Sends everything to both servers; hands over each case in focus with both answers, ours first.
    ///
    /// # Errors
    /// When a server cannot be reached, and those of `compare`.
    pub(crate) async fn run(
        &self,
        servers: [&Target; 2],
        mut compare: impl FnMut(&Case, &Answer, &Answer) -> Result<()>,
    ) -> Result<()> {
        let mut alone = servers.map(Client::new);
        let mut versions = [String::new(), String::new()];
        for step in &self.steps {
            match step {
                Step::One { case, keep, focused } => {
                    let [a, b] = &mut alone;
                    let [ours, theirs] = [
                        a.ask(&with_version(&case.request, &versions[0])).await?,
                        b.ask(&with_version(&case.request, &versions[1])).await?,
                    ];
                    if *keep {
                        for (version, answer) in versions.iter_mut().zip([&ours, &theirs]) {
                            if let Some(made) = answer.body["metadata"]["resourceVersion"].as_str() {
                                *version = made.to_owned();
                            }
                        }
                    }
                    // What is refused as it is makes nothing to compare.
                    ensure!(
                        !keep || case.request.method != "POST" || theirs.code < 300,
                        "{}: kube-apiserver refuses it: {}",
                        case.name,
                        theirs.body
                    );
                    if *focused {
                        compare(case, &ours, &theirs)?;
                    }
                }
                Step::Settle(path) => {
                    for (client, version) in alone.iter_mut().zip(&mut versions) {
                        *version = settled(client, path).await?;
                    }
                }
                // Answers weigh much: not all are held at once.
                Step::Many(cases) => {
                    for cases in cases.chunks(SIDE_BY_SIDE * IN_A_ROW) {
                        let (ours, theirs) = tokio::try_join!(
                            many(servers[0], cases, &versions[0]),
                            many(servers[1], cases, &versions[1])
                        )?;
                        for (case, (ours, theirs)) in cases.iter().zip(ours.iter().zip(&theirs)) {
                            compare(case, ours, theirs)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

/// The version of an object that did not change for a while.
async fn settled(client: &mut Client<'_>, path: &str) -> Result<String> {
    let case = Case::new(String::new(), "GET", path.to_owned(), &Value::Null);
    let (mut version, mut seen) = (String::new(), 0);
    let deadline = Instant::now() + SETTLE;
    while seen < QUIET && Instant::now() < deadline {
        let answer = client.ask(&case.request).await?;
        let found = answer.body["metadata"]["resourceVersion"].as_str();
        let found = found.unwrap_or_default();
        seen = if found == version { seen + 1 } else { 0 };
        version = found.to_owned();
        // Nothing tells that a server has no more to write.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(version)
}

async fn many(target: &Target, cases: &[Case], version: &str) -> Result<Vec<Answer>> {
    let parts = cases.chunks(cases.len().div_ceil(SIDE_BY_SIDE).max(1));
    let lists: Vec<Vec<Answer>> = futures::stream::iter(parts)
        .map(|part| in_a_row(target, part, version))
        .buffered(SIDE_BY_SIDE)
        .try_collect()
        .await?;
    Ok(lists.into_iter().flatten().collect())
}

async fn in_a_row(target: &Target, cases: &[Case], version: &str) -> Result<Vec<Answer>> {
    let mut client = Client::new(target);
    let mut answers = Vec::with_capacity(cases.len());
    for case in cases {
        answers.push(client.ask(&with_version(&case.request, version)).await?);
    }
    Ok(answers)
}

fn with_version(request: &Request, version: &str) -> Request {
    let mut request = request.clone();
    if let Ok(text) = std::str::from_utf8(&request.body)
        && text.contains(MADE_VERSION)
    {
        request.body = text.replace(MADE_VERSION, version).into();
    }
    request
}

/// Makes the namespace; its name is empty, as every focus needs it.
pub(crate) fn namespace() -> Script {
    let mut script = Script::new("");
    let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
    let name = "namespaces create the one for all".to_owned();
    script.one(Case::new(name, "POST", "/api/v1/namespaces".to_owned(), &body));
    script
}
