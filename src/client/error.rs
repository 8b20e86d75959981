//! Errors of this room and questions one asks of an API error.

use std::path::PathBuf;

use thiserror::Error;

/// A client could not be built. Nothing was sent yet.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The kubeconfig file is missing or not readable as one.
    #[error("cannot read kubeconfig {path}", path = path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<kube::config::KubeconfigError>,
    },
    /// The kubeconfig's text has no usable current context.
    #[error("kubeconfig names no usable cluster and user")]
    Context(#[source] Box<kube::config::KubeconfigError>),
    /// Certificates or the address in it are not usable.
    #[error("cannot make a client from the kubeconfig's certificates and address")]
    Build(#[source] Box<kube::Error>),
}

/// Questions about an answer of the API server.
pub trait ErrorExt {
    /// HTTP status code, when the server answered at all.
    fn code(&self) -> Option<u16>;
    /// The `Status.reason`, when the server answered.
    fn reason(&self) -> Option<&str>;
    /// 404 NotFound.
    fn is_not_found(&self) -> bool {
        self.code() == Some(404)
    }
    /// 409 Conflict: the object changed since it was read.
    fn is_conflict(&self) -> bool {
        self.reason() == Some("Conflict")
    }
    /// 409 AlreadyExists.
    fn is_already_exists(&self) -> bool {
        self.reason() == Some("AlreadyExists")
    }
    /// 422 Invalid.
    fn is_invalid(&self) -> bool {
        self.reason() == Some("Invalid")
    }
    /// 403 because the namespace is going away: nothing new can be made in it.
    fn is_namespace_terminating(&self) -> bool;
}

impl ErrorExt for kube::Error {
    fn code(&self) -> Option<u16> {
        match self {
            kube::Error::Api(status) => Some(status.code),
            _ => None,
        }
    }

    fn reason(&self) -> Option<&str> {
        match self {
            kube::Error::Api(status) => Some(status.reason.as_str()),
            _ => None,
        }
    }

    fn is_namespace_terminating(&self) -> bool {
        match self {
            kube::Error::Api(status) => {
                status.code == 403
                    && (status.message.contains("because it is being terminated")
                        || status
                            .details
                            .as_ref()
                            .is_some_and(|d| d.causes.iter().any(|c| c.reason == "NamespaceTerminating")))
            }
            _ => false,
        }
    }
}

/// The whole chain of an error in one line, outermost first. A layer whose text repeats the layer
/// above (kube's errors embed their source) is not printed twice; of an API error only the server's
/// words are.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(layer) = next {
        let api = match layer.downcast_ref::<kube::Error>() {
            Some(kube::Error::Api(status)) => Some(status.message.clone()),
            _ => None,
        };
        let done = api.is_some();
        let words = api.unwrap_or_else(|| layer.to_string());
        if !text.contains(&words) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&words);
        }
        next = layer.source().filter(|_| !done);
    }
    text
}
