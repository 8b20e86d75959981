//! Lifecycle hooks of containers.
//!
//! <https://kubernetes.io/docs/concepts/containers/container-lifecycle-hooks/>

use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, LifecycleHandler};
use rkind_cri::Runtime;

use crate::probe::check::http_get;

/// Runs a hook to its end; the error is what the event says after its prefix.
pub(crate) async fn run(
    runtime: &dyn Runtime,
    id: &str,
    host: &str,
    container: &Container,
    handler: &LifecycleHandler,
) -> Result<(), String> {
    if let Some(exec) = &handler.exec {
        let command = exec.command.clone().unwrap_or_default();
        return match runtime.exec_sync(id, &command, Duration::ZERO).await {
            Ok(answer) if answer.exit_code == 0 => Ok(()),
            Ok(answer) => {
                let mut output = answer.stdout;
                output.extend(answer.stderr);
                Err(format!(
                    "command '{}' exited with {}: {}",
                    command.join(" "),
                    answer.exit_code,
                    String::from_utf8_lossy(&output)
                ))
            }
            Err(error) => Err(format!(
                "command '{}' failed: {}",
                command.join(" "),
                error.rpc_message()
            )),
        };
    }
    if let Some(get) = &handler.http_get {
        return match http_get(get, host, container, "kube-lifecycle/1.35").await {
            Ok(answer) if answer.code < 400 => Ok(()),
            Ok(answer) => Err(format!(
                "HTTP hook failed with statuscode: {}: {}",
                answer.code, answer.body
            )),
            Err(error) => Err(error),
        };
    }
    if let Some(sleep) = &handler.sleep {
        tokio::time::sleep(Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or(0))).await;
    }
    Ok(())
}
