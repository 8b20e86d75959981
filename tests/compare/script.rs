//! Requests in their order.

use anyhow::Result;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use regex::Regex;
use rkind_tests::servers::Target;
use serde_json::{Value, json};

use crate::ask::{Answer, Client, Request};

/// Connections per server for requests sent side by side.
const SIDE_BY_SIDE: usize = 8;
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
        let kind = match method {
            "PATCH" => "application/merge-patch+json",
            _ => "application/json",
        };
        let body = if body.is_null() {
            Bytes::new()
        } else {
            body.to_string().into()
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
                Step::Many(cases) => {
                    cases.retain(|case| focus.is_match(&case.name));
                    any |= !cases.is_empty();
                }
            }
        }
        any
    }

    /// Sends everything; the answers in the order of the cases.
    pub(crate) async fn run(&self, target: &Target) -> Result<Vec<Answer>> {
        let mut answers = vec![];
        let mut version = String::new();
        let mut alone = Client::new(target);
        for step in &self.steps {
            match step {
                Step::One { case, keep, .. } => {
                    let answer = alone.ask(&with_version(&case.request, &version)).await?;
                    if *keep && let Some(made) = answer.body["metadata"]["resourceVersion"].as_str() {
                        version = made.to_owned();
                    }
                    answers.push(answer);
                }
                Step::Many(cases) => {
                    let parts = cases.chunks(cases.len().div_ceil(SIDE_BY_SIDE).max(1));
                    let lists: Vec<Vec<Answer>> = futures::stream::iter(parts)
                        .map(|part| many(target, part, &version))
                        .buffered(SIDE_BY_SIDE)
                        .try_collect()
                        .await?;
                    answers.extend(lists.into_iter().flatten());
                }
            }
        }
        Ok(answers)
    }

    /// The cases in focus with both answers.
    pub(crate) fn pair<'a>(
        &'a self,
        ours: &'a [Answer],
        theirs: &'a [Answer],
    ) -> impl Iterator<Item = (&'a Case, &'a Answer, &'a Answer)> {
        let cases = self.steps.iter().flat_map(|step| match step {
            Step::One { case, focused, .. } => vec![(case, *focused)],
            Step::Many(cases) => cases.iter().map(|case| (case, true)).collect(),
        });
        cases
            .zip(ours.iter().zip(theirs))
            .filter(|((_, focused), _)| *focused)
            .map(|((case, _), (ours, theirs))| (case, ours, theirs))
    }
}

async fn many(target: &Target, cases: &[Case], version: &str) -> Result<Vec<Answer>> {
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
