//! `GET /containerLogs/{namespace}/{pod}/{container}`.

use std::path::PathBuf;
use std::sync::Arc;

use futures::{FutureExt, StreamExt};
use http::{Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use rkind_cri::v1;
use tokio::sync::mpsc;

use super::logs::{LogOptions, stream};
use super::{Body, Refusal};
use crate::agent::Agent;
use crate::observed::{Instance, Observed, RunState};
use crate::pod::{PodExt, find_status};

pub(super) async fn answer(
    agent: &Arc<Agent>,
    pod: &Pod,
    container: &str,
    query: &[(String, String)],
) -> Result<Response<Body>, Refusal> {
    let options =
        LogOptions::parse(query, Timestamp::now()).map_err(|m| Refusal::new(StatusCode::BAD_REQUEST, m))?;
    if pod.container(container).is_none() {
        return Err(Refusal::not_found(format!(
            "container \"{container}\" not found in pod \"{}\"",
            pod.name()
        )));
    }
    let observed = Observed::of_pod(agent.runtime.as_ref(), pod.uid())
        .await
        .map_err(Refusal::internal)?;
    let instance = choose(pod, container, &observed, options.previous)?;
    let path = PathBuf::from(&instance.log_path);
    if !path.exists() {
        let message = format!(
            "failed to open log file \"{}\": no such file or directory",
            path.display()
        );
        return Err(Refusal::new(StatusCode::BAD_REQUEST, message));
    }
    let (sender, receiver) = mpsc::channel(16);
    let runtime = agent.runtime.clone();
    let id = instance.id.clone();
    tokio::spawn(async move {
        let ended = move || {
            let (runtime, id) = (runtime.clone(), id.clone());
            async move {
                match runtime.container_status(&id, false).await {
                    Ok(answer) => answer
                        .status
                        .is_none_or(|s| s.state() != v1::ContainerState::ContainerRunning),
                    Err(error) => error.is_not_found(),
                }
            }
            .boxed()
        };
        if let Err(error) = stream(path, options, sender.clone(), ended).await {
            let _ = sender.send(Err(error)).await;
        }
    });
    let frames = tokio_stream(receiver).map(|part| part.map(Frame::data));
    let mut response = Response::new(BodyExt::boxed(StreamBody::new(frames)));
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static("text/plain"),
    );
    Ok(response)
}

fn tokio_stream<T>(mut receiver: mpsc::Receiver<T>) -> impl futures::Stream<Item = T> {
    futures::stream::poll_fn(move |cx| receiver.poll_recv(cx))
}

/// The instance whose log is meant: the current one, or the one before.
fn choose<'a>(
    pod: &Pod,
    name: &'a str,
    observed: &'a Observed,
    previous: bool,
) -> Result<&'a Instance, Refusal> {
    let bad = |message: String| Err(Refusal::new(StatusCode::BAD_REQUEST, message));
    let mut instances = observed.instances(name).filter(|i| i.state != RunState::Created);
    let newest = instances.next();
    if previous {
        // While a container waits to be started again, the newest has ended: it is the previous one.
        let ended = newest.filter(|i| !i.is_running() && is_waiting(pod, name));
        return match ended.or_else(|| instances.next()) {
            Some(instance) => Ok(instance),
            None => bad(format!(
                "previous terminated container \"{name}\" in pod \"{}\" not found",
                pod.name()
            )),
        };
    }
    match newest {
        Some(instance) => Ok(instance),
        None => {
            let status = status_of(pod, name);
            let waiting = status
                .and_then(|s| s.state.as_ref())
                .and_then(|s| s.waiting.as_ref());
            let reason = waiting
                .and_then(|w| w.reason.clone())
                .unwrap_or_else(|| "ContainerCreating".into());
            let why = match reason.as_str() {
                "ErrImagePull" | "ImagePullBackOff" | "ErrImageNeverPull" | "InvalidImageName" => {
                    "trying and failing to pull image".to_string()
                }
                _ => reason,
            };
            bad(format!(
                "container \"{name}\" in pod \"{}\" is waiting to start: {why}",
                pod.name()
            ))
        }
    }
}

fn status_of<'a>(pod: &'a Pod, name: &str) -> Option<&'a ContainerStatus> {
    let status = pod.status();
    [
        &status.container_statuses,
        &status.init_container_statuses,
        &status.ephemeral_container_statuses,
    ]
    .into_iter()
    .find_map(|list| find_status(list.as_deref().unwrap_or_default(), name))
}

fn is_waiting(pod: &Pod, name: &str) -> bool {
    status_of(pod, name)
        .and_then(|s| s.state.as_ref())
        .is_some_and(|s| s.waiting.is_some())
}
