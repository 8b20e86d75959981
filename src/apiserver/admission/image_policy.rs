//! A webhook judges the images of pods. Upstream: `plugin/pkg/admission/imagepolicy`.
//!
//! Upstream's annotation of pods that were let in although the webhook failed is not made: it is long
//! announced to go, and validation changes nothing here.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use parking_lot::Mutex;
use rkind_apimachinery::meta;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Operation, Request, Validate};
use crate::{error::Result, outbound::Remote};

/// Deadline of one question.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How often it is asked.
const TRIES: u32 = 5;
/// How much longer each wait is than the one before it.
const FACTOR: f64 = 1.5;
/// Answers kept at most.
const KEPT: usize = 1024;
/// What the names of audit annotations begin with.
const ANNOTATIONS: &str = "imagepolicywebhook.image-policy.k8s.io/";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Configuration {
    image_policy: ImagePolicy,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ImagePolicy {
    /// The file's text.
    #[serde(default)]
    kube_config_file: String,
    /// Seconds; 0 is the default, -1 never keeps.
    #[serde(default, rename = "allowTTL")]
    allow_ttl: i64,
    #[serde(default, rename = "denyTTL")]
    deny_ttl: i64,
    /// Milliseconds.
    #[serde(default)]
    retry_backoff: i64,
    #[serde(default)]
    default_allow: bool,
}

/// A number of units as upstream reads it.
fn duration(
    number: i64,
    unit: Duration,
    range: [Duration; 2],
    fallback: Duration,
) -> Result<Duration, String> {
    match number {
        -1 => Ok(Duration::ZERO),
        0 => Ok(fallback),
        number => {
            let scaled = u32::try_from(number)
                .ok()
                .and_then(|number| unit.checked_mul(number));
            let [least, most] = range;
            scaled
                .filter(|scaled| (least..=most).contains(scaled))
                .ok_or_else(|| {
                    format!("valid value is between {least:?} and {most:?}, got {number} times {unit:?}")
                })
        }
    }
}

pub(super) struct ImagePolicyWebhook {
    remote: Remote,
    allow: Duration,
    deny: Duration,
    backoff: Duration,
    fails_open: bool,
    /// Statuses by question, and until when they hold.
    answers: Mutex<HashMap<String, (Instant, Value)>>,
}

impl ImagePolicyWebhook {
    /// By a plugin's configuration.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn new(configuration: &Value) -> Result<Self, String> {
        let Configuration { image_policy: read } =
            serde_json::from_value(configuration.clone()).map_err(|error| error.to_string())?;
        let ttls = [Duration::from_secs(1), Duration::from_secs(30 * 60)];
        let seconds = |number, fallback| duration(number, Duration::from_secs(1), ttls, fallback);
        let waits = [Duration::from_nanos(1), Duration::from_secs(5 * 60)];
        Ok(ImagePolicyWebhook {
            allow: seconds(read.allow_ttl, Duration::from_secs(5 * 60))?,
            deny: seconds(read.deny_ttl, Duration::from_secs(30))?,
            backoff: duration(
                read.retry_backoff,
                Duration::from_millis(1),
                waits,
                Duration::from_millis(500),
            )?,
            fails_open: read.default_allow,
            remote: Remote::from_kubeconfig(&read.kube_config_file, TIMEOUT)
                .map_err(|error| format!("imagePolicy.kubeConfigFile: {error}"))?,
            answers: Mutex::default(),
        })
    }

    /// The webhook's verdict, an `ImageReviewStatus`.
    async fn ask(&self, spec: &Value) -> Result<Value, String> {
        let question = spec.to_string();
        let known = self.answers.lock().get(&question).cloned();
        if let Some((until, status)) = known
            && Instant::now() < until
        {
            return Ok(status);
        }
        let review = json!({"kind": "ImageReview", "apiVersion": "imagepolicy.k8s.io/v1alpha1",
            "metadata": {"creationTimestamp": null}, "spec": spec, "status": {"allowed": false}});
        let body = review.to_string().into_bytes();
        let mut wait = self.backoff;
        let mut tries = 1;
        let mut answer = loop {
            match self.remote.post(body.clone()).await {
                Ok(answer) => break answer,
                Err(error) if tries == TRIES => return Err(error.to_string()),
                Err(error) => {
                    tracing::debug!(%error, tries, "image policy webhook does not answer");
                    // Nothing tells when it is back.
                    tokio::time::sleep(wait).await;
                    wait = wait.mul_f64(FACTOR);
                    tries += 1;
                }
            }
        };
        let status = answer["status"].take();
        let ttl = if status["allowed"] == true {
            self.allow
        } else {
            self.deny
        };
        let now = Instant::now();
        let mut answers = self.answers.lock();
        if answers.len() >= KEPT {
            answers.retain(|_, (until, _)| *until > now);
        }
        if answers.len() < KEPT && !ttl.is_zero() {
            answers.insert(question, (now + ttl, status.clone()));
        }
        Ok(status)
    }
}

/// What the webhook is told of a pod.
fn spec(request: &Request<'_>) -> Value {
    let lists: &[&str] = match request.sub {
        "" => &["containers", "initContainers"],
        _ => &["ephemeralContainers"],
    };
    let containers = lists.iter().flat_map(|list| {
        let all = request.object["spec"][*list].as_array().into_iter().flatten();
        all.map(|container| json!({"image": container["image"]}))
    });
    let mut spec = json!({"containers": containers.collect::<Vec<_>>()});
    let annotations = meta::annotations(request.object).into_iter().flatten();
    let annotations: Map<String, Value> = annotations
        .filter(|(key, _)| key.contains(".image-policy.k8s.io/"))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    if !annotations.is_empty() {
        spec["annotations"] = Value::Object(annotations);
    }
    spec["namespace"] = request.namespace.into();
    spec
}

#[async_trait]
impl Validate for ImagePolicyWebhook {
    fn name(&self) -> &'static str {
        "ImagePolicyWebhook"
    }

    async fn validate(&self, request: &Request<'_>) -> Result<()> {
        let writes = matches!(request.operation, Operation::Create | Operation::Update);
        let pods = request.def.group.is_empty() && request.def.resource == "pods";
        if !writes || !pods || !matches!(request.sub, "" | "ephemeralcontainers") {
            return Ok(());
        }
        let status = match self.ask(&spec(request)).await {
            Ok(status) => status,
            Err(_) if self.fails_open => {
                request
                    .notes
                    .annotate(format!("{ANNOTATIONS}failed-open"), "true");
                return Ok(());
            }
            Err(why) => return Err(request.forbidden(&why)),
        };
        for (key, value) in status["auditAnnotations"].as_object().into_iter().flatten() {
            let value = value.as_str().unwrap_or_default();
            request.notes.annotate(format!("{ANNOTATIONS}{key}"), value);
        }
        if status["allowed"] == true {
            return Ok(());
        }
        Err(request.forbidden(&match status["reason"].as_str() {
            Some(reason) if !reason.is_empty() => {
                format!("image policy webhook backend denied one or more images: {reason}")
            }
            _ => "one or more images rejected by webhook backend".to_owned(),
        }))
    }
}
