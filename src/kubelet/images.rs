//! Having a container's image on this machine.
//!
//! <https://kubernetes.io/docs/concepts/containers/images/>

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};
use parking_lot::Mutex;
use rkind_cri::{Runtime, image_ref, v1};

use crate::backoff::{Backoffs, go_duration};
use crate::events::{ContainerEvents, Normal, Warning};
use crate::objects::Objects;
use crate::pod::PodExt;
use crate::status::StartError;

/// Pull policy after defaulting: `Always` for `latest`, else `IfNotPresent`.
pub(crate) fn pull_policy(container: &Container) -> &str {
    match container.image_pull_policy.as_deref() {
        Some(policy) if !policy.is_empty() => policy,
        _ => match image_ref::tag(container.image.as_deref().unwrap_or_default()).as_deref() {
            Some("latest") => "Always",
            _ => "IfNotPresent",
        },
    }
}

/// Image pulls with their back-off.
pub(crate) struct Images {
    runtime: Arc<dyn Runtime>,
    objects: Arc<Objects>,
    backoffs: Mutex<Backoffs>,
    /// Last failure by back-off key, for the message of the waiting state.
    failures: Mutex<BTreeMap<String, String>>,
}

fn error(reason: &str, message: impl Into<String>) -> StartError {
    StartError {
        reason: reason.into(),
        message: message.into(),
    }
}

impl Images {
    pub(crate) fn new(runtime: Arc<dyn Runtime>, objects: Arc<Objects>) -> Self {
        let backoffs = Backoffs::new(Duration::from_secs(10), Duration::from_secs(300));
        Self {
            runtime,
            objects,
            backoffs: Mutex::new(backoffs),
            failures: Mutex::default(),
        }
    }

    /// Makes sure the image is here, as the pull policy wants. The second value of an error is when to try again.
    pub(crate) async fn ensure(
        &self,
        pod: &Pod,
        container: &Container,
        sandbox: &v1::PodSandboxConfig,
        events: &ContainerEvents,
    ) -> Result<v1::Image, (StartError, Option<Duration>)> {
        let image = container.image.as_deref().unwrap_or_default();
        if let Err(message) = image_ref::validate(image) {
            let message = format!("Failed to apply default image tag \"{image}\": {message}");
            events.send(Warning, "InspectFailed", &message);
            return Err((error("InvalidImageName", message), None));
        }
        let present = match self.runtime.image_status(image).await {
            Ok(found) => found,
            Err(failure) => {
                let message = format!("Failed to inspect image \"{image}\": {}", failure.rpc_message());
                events.send(Warning, "InspectFailed", &message);
                return Err((error("ImageInspectError", message), Some(Duration::from_secs(10))));
            }
        };
        match (pull_policy(container), present) {
            ("Never" | "IfNotPresent", Some(found)) => {
                events.send(
                    Normal,
                    "Pulled",
                    format!("Container image \"{image}\" already present on machine"),
                );
                Ok(found)
            }
            ("Never", None) => {
                let message = format!("Container image \"{image}\" is not present with pull policy of Never");
                events.send(Warning, "ErrImageNeverPull", &message);
                Err((error("ErrImageNeverPull", message), Some(Duration::from_secs(20))))
            }
            _ => self.pull(pod, image, sandbox, events).await,
        }
    }

    async fn pull(
        &self,
        pod: &Pod,
        image: &str,
        sandbox: &v1::PodSandboxConfig,
        events: &ContainerEvents,
    ) -> Result<v1::Image, (StartError, Option<Duration>)> {
        let key = format!("{}_{image}", pod.uid());
        let now = Timestamp::now();
        let waiting = self.backoffs.lock().remaining_since_update(&key, now);
        if let Some(left) = waiting {
            let mut message = format!("Back-off pulling image \"{image}\"");
            events.send(Normal, "BackOff", &message);
            if let Some(last) = self.failures.lock().get(&key) {
                message.push_str(&format!(": ErrImagePull: {last}"));
            }
            return Err((error("ImagePullBackOff", message), Some(left)));
        }
        events.send(Normal, "Pulling", format!("Pulling image \"{image}\""));
        let started = Instant::now();
        let mut last = None;
        for auth in self.credentials(pod, image).await {
            match self.runtime.pull_image(image, auth, Some(sandbox.clone())).await {
                Ok(reference) => {
                    let found = match self.runtime.image_status(&reference).await {
                        Ok(Some(found)) => found,
                        _ => v1::Image {
                            id: reference,
                            ..Default::default()
                        },
                    };
                    let took = go_duration(started.elapsed());
                    let message = format!(
                        "Successfully pulled image \"{image}\" in {took} ({took} including waiting). Image size: {} bytes.",
                        found.size
                    );
                    events.send(Normal, "Pulled", message);
                    self.failures.lock().remove(&key);
                    return Ok(found);
                }
                Err(failure) => last = Some(failure),
            }
        }
        let message = last.map(|e| e.rpc_message()).unwrap_or_default();
        events.send(
            Warning,
            "Failed",
            format!("Failed to pull image \"{image}\": {message}"),
        );
        self.backoffs.lock().next(&key, now, Timestamp::now());
        self.failures.lock().insert(key, message.clone());
        // Come back at once: the next try reports the back-off.
        Err((error("ErrImagePull", message), Some(Duration::from_secs(1))))
    }

    /// Credentials for an image from the pod's pull secrets; without any, one anonymous try.
    async fn credentials(&self, pod: &Pod, image: &str) -> Vec<Option<v1::AuthConfig>> {
        let full = image_ref::normalize(image);
        let mut found = Vec::new();
        for reference in pod.spec().image_pull_secrets.iter().flatten() {
            let Ok(Some(secret)) = self.objects.secret(pod.namespace(), &reference.name, true).await else {
                continue;
            };
            for (key, nested) in [(".dockerconfigjson", true), (".dockercfg", false)] {
                if let Some(data) = secret.data.as_ref().and_then(|d| d.get(key)) {
                    found.extend(auths(&data.0, nested, &full).into_iter().map(Some));
                }
            }
        }
        if found.is_empty() { vec![None] } else { found }
    }

    /// Forgets a pod's failures.
    pub(crate) fn forget(&self, uid: &str) {
        self.backoffs.lock().forget(uid);
        self.failures.lock().retain(|key, _| !key.starts_with(uid));
    }
}

/// Entries of a docker configuration that fit an image's registry and path.
fn auths(json: &[u8], nested: bool, image: &str) -> Vec<v1::AuthConfig> {
    let Ok(mut value) = serde_json::from_slice::<serde_json::Value>(json) else {
        return Vec::new();
    };
    if nested {
        value = value["auths"].take();
    }
    let Some(entries) = value.as_object() else {
        return Vec::new();
    };
    let strip = |key: &str| {
        let key = key.trim_start_matches("https://").trim_start_matches("http://");
        let key = key
            .trim_end_matches('/')
            .trim_end_matches("/v1")
            .trim_end_matches("/v2");
        if key == "index.docker.io" {
            "docker.io".to_string()
        } else {
            key.to_string()
        }
    };
    let mut found: Vec<(String, v1::AuthConfig)> = Vec::new();
    for (key, entry) in entries {
        let place = strip(key);
        if image != place && !image.starts_with(&format!("{place}/")) {
            continue;
        }
        let text = |name: &str| entry[name].as_str().unwrap_or_default().to_string();
        let (mut username, mut password) = (text("username"), text("password"));
        let decoded = base64::engine::general_purpose::STANDARD
            .decode(text("auth"))
            .unwrap_or_default();
        if let Some((user, pass)) = String::from_utf8_lossy(&decoded).split_once(':') {
            (username, password) = (user.to_string(), pass.to_string());
        }
        found.push((
            place,
            v1::AuthConfig {
                username,
                password,
                server_address: key.clone(),
                ..Default::default()
            },
        ));
    }
    // The longest matching place is the most specific.
    found.sort_by_key(|(place, _)| std::cmp::Reverse(place.len()));
    found.into_iter().map(|(_, auth)| auth).collect()
}

#[cfg(test)]
mod tests;
