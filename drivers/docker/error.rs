//! The engine's answers as errors of the seam.

use bollard::errors::Error as DockerError;
use rkind_driver::Error;

/// An error of the engine while `doing` something; its message without the
/// client's words around it.
pub(crate) fn backend(doing: impl Into<String>, error: DockerError) -> Error {
    match error {
        DockerError::DockerResponseServerError { message, .. } => {
            Error::backend(doing, message.trim().to_owned())
        }
        DockerError::DockerStreamError { error } => Error::backend(doing, error.trim().to_owned()),
        other => Error::backend(doing, other),
    }
}

fn status(error: &DockerError) -> Option<u16> {
    match error {
        DockerError::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

pub(crate) fn is_not_found(error: &DockerError) -> bool {
    status(error) == Some(404)
}

pub(crate) fn is_conflict(error: &DockerError) -> bool {
    // Podman answers 500 for a name in use.
    status(error) == Some(409) || (status(error) == Some(500) && text(error).contains("already in use by"))
}

pub(crate) fn is_not_running(error: &DockerError) -> bool {
    status(error) == Some(409) && text(error).contains("not running")
}

pub(crate) fn is_removal_in_progress(error: &DockerError) -> bool {
    status(error) == Some(409) && text(error).contains("already in progress")
}

/// Another network has (a part of) the subnet.
pub(crate) fn is_overlap(error: &DockerError) -> bool {
    let text = text(error);
    text.contains("overlaps with other one")
        || text.contains("already being used")
        || text.contains("is already used")
}

pub(crate) fn text(error: &DockerError) -> String {
    match error {
        DockerError::DockerResponseServerError { message, .. } => message.clone(),
        other => other.to_string(),
    }
}

/// The host's port that could not be bound, out of the engine's message.
pub(crate) fn port_in_use(message: &str) -> Option<u16> {
    let at = message
        .find("port is already allocated")
        .or_else(|| message.find("address already in use"))?;
    // `Bind for 127.0.0.1:8080 failed: …`, `listen tcp4 127.0.0.1:8080: bind: …`
    let before = &message[..at];
    before.split([' ', ',', '"']).rev().find_map(|word| {
        let (_, port) = word.trim_end_matches(':').rsplit_once(':')?;
        port.parse().ok()
    })
}
