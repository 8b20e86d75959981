//! Configuration files that are read again when they change. A new text that cannot be used is counted and
//! logged, and what was there stays.
//! Upstream: `k8s.io/apiserver/pkg/server/options`, `pkg/kubeapiserver/authorizer/reload.go`.

#[cfg(test)]
mod tests;

use std::{
    fs::Metadata,
    os::unix::fs::MetadataExt as _,
    sync::Arc,
    time::{Duration, SystemTime},
};

use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

use crate::{
    core::Core,
    metrics::layers::{head, line},
    options::{Features, FileText},
};

/// How often a file's state is looked at; it is read when that changed.
const PERIOD: Duration = Duration::from_secs(1);

/// A file that is followed: whose configuration it is, by the name in upstream's metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Authentication,
    Authorization,
    Encryption,
}

impl Subject {
    const ALL: [Subject; 3] = [
        Subject::Authentication,
        Subject::Authorization,
        Subject::Encryption,
    ];

    fn name(self) -> &'static str {
        match self {
            Subject::Authentication => "authentication",
            Subject::Authorization => "authorization",
            Subject::Encryption => "encryption",
        }
    }

    /// Takes a new text on.
    ///
    /// # Errors
    /// Why it cannot be used.
    async fn apply(self, core: &Core, text: &str) -> Result<(), String> {
        match self {
            Subject::Authentication => core.authn.reload(text).map_err(|e| told(&e)),
            Subject::Authorization => core.authorizer.reload(text).map_err(|e| told(&e)),
            Subject::Encryption => match &core.encryption {
                Some(encryption) => encryption.reload(text).await.map_err(|e| told(&e)),
                None => Ok(()),
            },
        }
    }
}

/// An error with its causes, in one line.
fn told(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

/// Reloads that ended one way.
#[derive(Clone, Copy, Default)]
struct Ended {
    times: u64,
    /// Seconds since 1970 of the last one.
    last: f64,
}

#[derive(Clone, Default)]
struct Counts {
    /// Good ones and bad ones.
    ended: [Ended; 2],
    /// Of the configuration in use; empty for a file that is not followed.
    hash: String,
}

/// What has been reloaded how often.
#[derive(Default)]
pub(crate) struct Reloads(Mutex<[Counts; 3]>);

fn hash(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{digits}")
}

impl Reloads {
    fn uses(&self, subject: Subject, text: &str) {
        self.0.lock()[subject as usize].hash = hash(text);
    }

    fn ended(&self, subject: Subject, good: bool) {
        let mut counts = self.0.lock();
        let ended = &mut counts[subject as usize].ended[usize::from(!good)];
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        ended.times += 1;
        ended.last = now.unwrap_or_default().as_secs_f64();
    }

    /// In text form, under upstream's names.
    pub(crate) fn render(&self, out: &mut String) {
        let counts = self.0.lock().clone();
        let id = hash("kube-apiserver");
        for (subject, counts) in Subject::ALL.into_iter().zip(counts) {
            let what = subject.name();
            let prefix = format!("apiserver_{what}_config_controller");
            let ended = ["success", "failure"].into_iter().zip(counts.ended);
            let ended: Vec<_> = ended.filter(|(_, ended)| ended.times > 0).collect();
            if !ended.is_empty() {
                let name = format!("{prefix}_automatic_reloads_total");
                let help = format!("Reloads of the {what} configuration, by outcome.");
                head(out, &name, "counter", &help);
                for (status, ended) in &ended {
                    let labels = format!("apiserver_id_hash=\"{id}\",status=\"{status}\"");
                    line(out, &name, &labels, ended.times);
                }
                let name = format!("{prefix}_automatic_reload_last_timestamp_seconds");
                let help = format!("Time of the last reload of the {what} configuration, by outcome.");
                head(out, &name, "gauge", &help);
                for (status, ended) in &ended {
                    let labels = format!("apiserver_id_hash=\"{id}\",status=\"{status}\"");
                    line(out, &name, &labels, ended.last);
                }
            }
            if !counts.hash.is_empty() {
                let name = format!("{prefix}_last_config_info");
                head(
                    out,
                    &name,
                    "gauge",
                    &format!("Hash of the {what} configuration in use."),
                );
                let labels = format!("apiserver_id_hash=\"{id}\",hash=\"{}\"", counts.hash);
                line(out, &name, &labels, 1);
            }
        }
    }
}

/// The files that are to be followed.
pub(crate) fn files(features: &Features) -> Vec<(Subject, FileText)> {
    let encryption = features.encryption_provider_config.as_ref();
    let all = [
        (
            Subject::Authentication,
            features.authentication.authentication_config.as_ref(),
        ),
        (
            Subject::Authorization,
            features.authorization.authorization_config.as_ref(),
        ),
        (
            Subject::Encryption,
            encryption.filter(|_| features.encryption_provider_config_automatic_reload),
        ),
    ];
    let named = all
        .into_iter()
        .filter_map(|(subject, file)| Some((subject, file?.clone())));
    named
        .filter(|(_, file)| !file.path().as_os_str().is_empty())
        .collect()
}

/// What tells one state of a file from another without reading it.
type State = Option<(Option<SystemTime>, u64, u64)>;

fn state(metadata: std::io::Result<Metadata>) -> State {
    let metadata = metadata.ok()?;
    Some((metadata.modified().ok(), metadata.len(), metadata.ino()))
}

/// Follows one file until the server ends.
pub(crate) async fn follow(core: Arc<Core>, subject: Subject, file: FileText) {
    let reloads = &core.metrics.reloads;
    reloads.uses(subject, &file);
    let path = file.path();
    let mut known = file.to_string();
    // The text was read before this began: the first look reads it again.
    let mut seen: Option<State> = None;
    let mut ticks = tokio::time::interval(PERIOD);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = core.stop.cancelled() => return,
        }
        let now = state(tokio::fs::metadata(path).await);
        if seen.replace(now) == Some(now) {
            continue;
        }
        let outcome = match tokio::fs::read_to_string(path).await {
            Ok(text) if text == known => continue,
            Ok(text) => {
                let outcome = subject.apply(&core, &text).await;
                if outcome.is_ok() {
                    reloads.uses(subject, &text);
                }
                known = text;
                outcome
            }
            Err(error) => Err(error.to_string()),
        };
        reloads.ended(subject, outcome.is_ok());
        let (what, path) = (subject.name(), path.display());
        match outcome {
            Ok(()) => tracing::info!(%path, "the {what} configuration was read again"),
            Err(why) => {
                tracing::error!(%path, why, "the new {what} configuration cannot be used; the old one stays")
            }
        }
    }
}
