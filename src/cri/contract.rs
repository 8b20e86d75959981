//! What every [`Runtime`] must do, as one function that its tests call.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use futures::StreamExt;

use crate::error::ErrorKind;
use crate::runtime::Runtime;
use crate::v1;

fn sandbox_config(name: &str, attempt: u32, logs: &Path) -> v1::PodSandboxConfig {
    let uid = format!("uid-{name}");
    v1::PodSandboxConfig {
        metadata: Some(v1::PodSandboxMetadata {
            name: name.into(),
            uid: uid.clone(),
            namespace: "contract".into(),
            attempt,
        }),
        // A sandbox in the machine's own network keeps the machine's name: no hostname.
        log_directory: logs.join(name).to_string_lossy().into_owned(),
        labels: HashMap::from([("io.kubernetes.pod.uid".to_string(), uid)]),
        annotations: HashMap::from([("note".to_string(), "kept".to_string())]),
        linux: Some(v1::LinuxPodSandboxConfig {
            security_context: Some(v1::LinuxSandboxSecurityContext {
                namespace_options: Some(v1::NamespaceOption {
                    // The machine of a test need not have a pod network.
                    network: v1::NamespaceMode::Node.into(),
                    pid: v1::NamespaceMode::Container.into(),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn container_config(name: &str, attempt: u32, image: &str, command: &[&str]) -> v1::ContainerConfig {
    v1::ContainerConfig {
        metadata: Some(v1::ContainerMetadata {
            name: name.into(),
            attempt,
        }),
        image: Some(v1::ImageSpec {
            image: image.into(),
            ..Default::default()
        }),
        command: command.iter().map(ToString::to_string).collect(),
        labels: HashMap::from([("io.kubernetes.container.name".to_string(), name.to_string())]),
        annotations: HashMap::from([("note".to_string(), "kept".to_string())]),
        log_path: format!("{name}_{attempt}.log"),
        linux: Some(v1::LinuxContainerConfig {
            security_context: Some(v1::LinuxContainerSecurityContext {
                namespace_options: Some(v1::NamespaceOption {
                    network: v1::NamespaceMode::Node.into(),
                    pid: v1::NamespaceMode::Container.into(),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// Runs the contract. `image` is present in the runtime and holds a shell; `logs` is a
/// directory that the runtime may write logs to.
///
/// # Panics
/// When the runtime breaks the contract, saying how.
pub async fn run(runtime: &dyn Runtime, image: &str, logs: &Path) {
    let version = runtime.version().await.expect("version");
    assert_eq!(version.runtime_api_version, "v1");
    let status = runtime.status().await.expect("status").status.expect("a status");
    assert!(
        status
            .conditions
            .iter()
            .any(|c| c.r#type == "RuntimeReady" && c.status)
    );

    let mut events = runtime.events().await.expect("events");
    // The first look opens the stream, and must not wait for something to happen.
    let quiet = tokio::time::timeout(Duration::from_millis(500), events.next()).await;
    assert!(quiet.is_err() || quiet.is_ok_and(|event| event.is_some_and(|e| e.is_err())));
    images(runtime, image).await;
    sandbox_life(runtime, image, logs).await;
    container_life(runtime, image, logs).await;
    let stopped = async {
        while let Some(event) = events.next().await {
            match event {
                Ok(event)
                    if event.container_event_type() == v1::ContainerEventType::ContainerStoppedEvent =>
                {
                    return;
                }
                Ok(_) => {}
                Err(error) => {
                    assert_eq!(error.kind, ErrorKind::Unimplemented, "{error:?}");
                    return;
                }
            }
        }
    };
    let told = tokio::time::timeout(Duration::from_secs(5), stopped).await;
    assert!(
        told.is_ok(),
        "a runtime with events tells of containers that ended"
    );
}

async fn images(runtime: &dyn Runtime, image: &str) {
    let found = runtime
        .image_status(image)
        .await
        .expect("image status")
        .expect("the image is present");
    assert!(!found.id.is_empty());
    assert!(
        runtime
            .list_images()
            .await
            .expect("list")
            .iter()
            .any(|i| i.id == found.id)
    );
    assert!(runtime.image_status(&found.id).await.expect("by id").is_some());
    assert!(
        runtime
            .image_status("no.such.host/none:1")
            .await
            .expect("an absent image is no error")
            .is_none()
    );
    runtime
        .remove_image("no.such.host/none:1")
        .await
        .expect("removing an absent image succeeds");
}

async fn sandbox_life(runtime: &dyn Runtime, image: &str, logs: &Path) {
    let config = sandbox_config("life", 0, logs);
    let id = runtime.run_pod_sandbox(config.clone(), "").await.expect("run");
    let again = runtime
        .run_pod_sandbox(config.clone(), "")
        .await
        .expect_err("the same attempt twice");
    assert_eq!(again.kind, ErrorKind::AlreadyExists, "{again:?}");

    let filter = v1::PodSandboxFilter {
        label_selector: config.labels.clone(),
        ..Default::default()
    };
    let listed = runtime.list_pod_sandboxes(Some(filter)).await.expect("list");
    assert_eq!(listed.len(), 1);
    assert_eq!(
        listed[0].annotations.get("note").map(String::as_str),
        Some("kept")
    );
    assert_eq!(listed[0].state(), v1::PodSandboxState::SandboxReady);

    runtime.stop_pod_sandbox(&id).await.expect("stop");
    runtime.stop_pod_sandbox(&id).await.expect("stop twice");
    let stopped = runtime
        .pod_sandbox_status(&id, false)
        .await
        .expect("status")
        .status
        .expect("a status");
    assert_eq!(stopped.state(), v1::PodSandboxState::SandboxNotready);
    let refused = runtime
        .create_container(&id, container_config("late", 0, image, &["sh"]), config.clone())
        .await;
    assert!(refused.is_err(), "a container in a stopped sandbox");

    runtime.remove_pod_sandbox(&id).await.expect("remove");
    runtime.remove_pod_sandbox(&id).await.expect("remove twice");
    assert!(
        runtime
            .pod_sandbox_status(&id, false)
            .await
            .expect_err("gone")
            .is_not_found()
    );
}

async fn container_life(runtime: &dyn Runtime, image: &str, logs: &Path) {
    let sandbox_config = sandbox_config("containers", 0, logs);
    let sandbox = runtime
        .run_pod_sandbox(sandbox_config.clone(), "")
        .await
        .expect("run");
    let forever = ["sh", "-c", "trap 'exit 0' TERM; while true; do sleep 0.1; done"];
    let config = container_config("main", 0, image, &forever);
    let id = runtime
        .create_container(&sandbox, config.clone(), sandbox_config.clone())
        .await
        .expect("create");
    let again = runtime
        .create_container(&sandbox, config, sandbox_config.clone())
        .await
        .expect_err("same attempt");
    assert_eq!(again.kind, ErrorKind::AlreadyExists, "{again:?}");
    let created = runtime
        .container_status(&id, false)
        .await
        .expect("status")
        .status
        .expect("a status");
    assert_eq!(created.state(), v1::ContainerState::ContainerCreated);
    assert_eq!(created.annotations.get("note").map(String::as_str), Some("kept"));
    assert!(
        runtime
            .exec_sync(&id, &["true".into()], Duration::from_secs(5))
            .await
            .is_err(),
        "exec before start"
    );

    runtime.start_container(&id).await.expect("start");
    assert!(runtime.start_container(&id).await.is_err(), "start twice");
    let running = runtime
        .container_status(&id, false)
        .await
        .expect("status")
        .status
        .expect("a status");
    assert_eq!(running.state(), v1::ContainerState::ContainerRunning);
    assert!(running.started_at > 0 && running.finished_at == 0);

    let exec = |line: &[&str]| line.iter().map(ToString::to_string).collect::<Vec<_>>();
    let seven = runtime
        .exec_sync(&id, &exec(&["sh", "-c", "exit 7"]), Duration::from_secs(10))
        .await
        .expect("exec");
    assert_eq!(seven.exit_code, 7);
    let hello = runtime
        .exec_sync(&id, &exec(&["echo", "hello"]), Duration::from_secs(10))
        .await
        .expect("exec");
    assert_eq!(
        (hello.exit_code, hello.stdout.as_slice()),
        (0, b"hello\n".as_slice())
    );
    let slow = runtime
        .exec_sync(&id, &exec(&["sleep", "30"]), Duration::from_secs(1))
        .await
        .expect_err("too slow");
    assert_eq!(slow.kind, ErrorKind::DeadlineExceeded, "{slow:?}");

    let filter = v1::ContainerFilter {
        pod_sandbox_id: sandbox.clone(),
        ..Default::default()
    };
    assert_eq!(
        runtime
            .list_containers(Some(filter.clone()))
            .await
            .expect("list")
            .len(),
        1
    );
    runtime
        .stop_container(&id, Duration::from_secs(10))
        .await
        .expect("stop");
    runtime
        .stop_container(&id, Duration::from_secs(10))
        .await
        .expect("stop twice");
    let ended = runtime
        .container_status(&id, false)
        .await
        .expect("status")
        .status
        .expect("a status");
    assert_eq!(ended.state(), v1::ContainerState::ContainerExited);
    assert_eq!(ended.exit_code, 0);
    assert!(ended.finished_at >= ended.started_at);

    let next = container_config("main", 1, image, &forever);
    let second = runtime
        .create_container(&sandbox, next, sandbox_config)
        .await
        .expect("the next attempt");
    runtime.remove_container(&id).await.expect("remove");
    runtime.remove_container(&id).await.expect("remove twice");
    assert!(
        runtime
            .container_status(&id, false)
            .await
            .expect_err("gone")
            .is_not_found()
    );
    assert_eq!(
        runtime
            .list_containers(Some(filter.clone()))
            .await
            .expect("list")
            .len(),
        1
    );

    runtime.start_container(&second).await.expect("start");
    runtime
        .stop_pod_sandbox(&sandbox)
        .await
        .expect("stopping a sandbox");
    let killed = runtime
        .container_status(&second, false)
        .await
        .expect("status")
        .status
        .expect("a status");
    assert_eq!(
        killed.state(),
        v1::ContainerState::ContainerExited,
        "kills its containers"
    );
    runtime
        .remove_pod_sandbox(&sandbox)
        .await
        .expect("removing a sandbox");
    assert!(
        runtime
            .list_containers(Some(filter))
            .await
            .expect("list")
            .is_empty(),
        "removes its containers"
    );
}
