//! An in-memory runtime that behaves: states only move forward, names are reserved per
//! attempt, removal is idempotent, events are emitted. Nothing really runs: what a container
//! does is scripted per image, and a test ends, OOM-kills or fails it by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, broadcast};

use crate::error::{Error, ErrorKind, Result};
use crate::image_ref::normalize;
#[cfg(doc)]
use crate::runtime::Runtime;
use crate::v1;

mod calls;
mod state;
pub use state::{Behaviour, ExecReply};
use state::{ContainerRecord, State};

/// The fake. Clones share one state.
#[derive(Clone, Default)]
pub struct Fake {
    inner: Arc<Inner>,
}

struct Inner {
    state: Mutex<State>,
    ids: AtomicU64,
    events: broadcast::Sender<v1::ContainerEventResponse>,
    /// Woken whenever any container ends.
    ended: Notify,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            ids: AtomicU64::new(1),
            events: broadcast::channel(1024).0,
            ended: Notify::new(),
        }
    }
}

impl std::fmt::Debug for Fake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fake").finish_non_exhaustive()
    }
}

fn now() -> i64 {
    i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}

fn not_found(call: &'static str, what: &str, id: &str) -> Error {
    Error::new(
        call,
        ErrorKind::NotFound,
        format!("an error occurred when try to find {what} \"{id}\": not found"),
    )
}

impl Fake {
    /// An empty runtime without images.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an image under `name` (normalised) that behaves like `behaviour` when run.
    pub fn add_image(&self, name: &str, behaviour: Behaviour) {
        self.inner
            .state
            .lock()
            .images
            .insert(normalize(name), (self.id("image"), behaviour));
    }

    /// Makes `name` available to [`Runtime::pull_image`] only.
    pub fn add_remote_image(&self, name: &str, behaviour: Behaviour) {
        self.inner.state.lock().remote.insert(normalize(name), behaviour);
    }

    /// The next `count` calls named `call` (CRI name, e.g. `RunPodSandbox`) fail with `message`.
    pub fn fail(&self, call: &'static str, count: usize, message: &str) {
        self.inner
            .state
            .lock()
            .failures
            .insert(call, (count, message.to_string()));
    }

    /// Every call named `call` takes `delay` from now on.
    pub fn delay(&self, call: &'static str, delay: Duration) {
        self.inner.state.lock().delays.insert(call, delay);
    }

    /// How often `call` was made so far.
    pub fn calls(&self, call: &str) -> usize {
        self.inner.state.lock().calls.get(call).copied().unwrap_or(0)
    }

    /// Ends a running container by itself, as if its process had exited.
    pub fn exit_container(&self, id: &str, exit_code: i32, reason: &str) {
        self.finish(id, exit_code, reason);
    }

    /// The id of the newest container called `name` of the pod with `uid`.
    pub fn find_container(&self, uid: &str, name: &str) -> Option<String> {
        let state = self.inner.state.lock();
        let of_pod = |c: &&ContainerRecord| {
            c.config
                .labels
                .get("io.kubernetes.pod.uid")
                .is_some_and(|u| u == uid)
                && c.config.metadata.as_ref().is_some_and(|m| m.name == name)
        };
        state
            .containers
            .values()
            .filter(of_pod)
            .max_by_key(|c| (c.created_at, c.sequence))
            .map(|c| c.id.clone())
    }

    /// Configuration a container was created with.
    pub fn container_config(&self, id: &str) -> Option<v1::ContainerConfig> {
        self.inner
            .state
            .lock()
            .containers
            .get(id)
            .map(|c| c.config.clone())
    }

    /// Kills a sandbox from outside, as a crashed pause process would.
    pub fn kill_sandbox(&self, id: &str) {
        let containers: Vec<String> = {
            let mut state = self.inner.state.lock();
            if let Some(sandbox) = state.sandboxes.get_mut(id) {
                sandbox.ready = false;
            }
            state
                .containers
                .values()
                .filter(|c| c.sandbox_id == id)
                .map(|c| c.id.clone())
                .collect()
        };
        for container in containers {
            self.finish(&container, 137, "Error");
        }
    }

    fn id(&self, kind: &str) -> String {
        let n = self.inner.ids.fetch_add(1, Ordering::Relaxed);
        match kind {
            "image" => format!("sha256:{n:064x}"),
            _ => format!("{n:064x}"),
        }
    }

    async fn enter(&self, call: &'static str) -> Result<()> {
        let delay = {
            let mut state = self.inner.state.lock();
            *state.calls.entry(call).or_default() += 1;
            state.delays.get(call).copied()
        };
        if let Some(delay) = delay {
            tokio::time::sleep(delay).await;
        }
        let mut state = self.inner.state.lock();
        if let Some((count, message)) = state.failures.get_mut(call)
            && *count > 0
        {
            *count -= 1;
            return Err(Error::new(call, ErrorKind::Other, message.clone()));
        }
        Ok(())
    }

    fn emit(&self, id: &str, event: v1::ContainerEventType) {
        let response = v1::ContainerEventResponse {
            container_id: id.into(),
            container_event_type: event.into(),
            created_at: now(),
            ..Default::default()
        };
        // Nobody listening is fine.
        let _ = self.inner.events.send(response);
    }

    fn finish(&self, id: &str, exit_code: i32, reason: &str) {
        {
            let mut state = self.inner.state.lock();
            let Some(container) = state.containers.get_mut(id) else {
                return;
            };
            if container.state != v1::ContainerState::ContainerRunning {
                return;
            }
            container.state = v1::ContainerState::ContainerExited;
            container.finished_at = now();
            container.exit_code = exit_code;
            container.reason = reason.to_string();
        }
        self.inner.ended.notify_waiters();
        self.emit(id, v1::ContainerEventType::ContainerStoppedEvent);
    }
}

impl Fake {
    /// What `exec_sync` of this command line (joined by spaces) answers; success without output by default.
    pub fn on_exec(&self, command: &str, reply: ExecReply) {
        self.inner.state.lock().exec.insert(command.to_string(), reply);
    }

    fn is_running(&self, id: &str) -> bool {
        let state = self.inner.state.lock();
        state
            .containers
            .get(id)
            .is_some_and(|c| c.state == v1::ContainerState::ContainerRunning)
    }
}

#[cfg(test)]
mod tests;
