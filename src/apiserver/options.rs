//! What may be switched on beside a server's needs, as kube-apiserver's flags say it. A field has its
//! flag's name, unit and default
//! (<https://kubernetes.io/docs/reference/command-line-tools-reference/kube-apiserver/>); where a flag
//! takes a file, the field is that file's text. What is not configured costs nothing.
//!
//! Two defaults are kubeadm's: the order of authorizers, and the headers of the front proxy.

mod admission;
mod audit;
mod authentication;
mod authorization;
mod file;
mod given;
mod kubelets;
mod serving;

#[cfg(test)]
mod tests;

use clap::{ArgAction, Args};

pub use admission::{Admission, AdmissionControl};
pub use audit::Audit;
pub use authentication::{Authentication, Oidc, RequestHeader};
pub use authorization::Authorization;
pub use file::{FileText, Unreadable};
pub use given::Misuse;
pub use kubelets::Kubelets;
pub use serving::{Aggregation, FlowControl, NamedPair, Serving};

use crate::Error;

/// Everything optional, by stage of a request.
#[derive(Args, Clone, Debug, Default, PartialEq)]
pub struct Features {
    /// Built-in APIs to serve or not: GROUP/VERSION[/RESOURCE]=true|false, or one of api/all, api/ga,
    /// api/beta, api/alpha
    #[arg(long, value_name = "API=BOOL", value_delimiter = ',', value_parser = setting, help_heading = "APIs")]
    pub runtime_config: Vec<(String, String)>,
    #[command(flatten)]
    pub authentication: Authentication,
    #[command(flatten)]
    pub authorization: Authorization,
    #[command(flatten)]
    pub admission: Admission,
    #[command(flatten)]
    pub flow_control: FlowControl,
    #[command(flatten)]
    pub audit: Audit,
    /// File with the configuration of encryption at rest (EncryptionConfiguration)
    #[arg(long, value_name = "FILE", value_parser = FileText::read, help_heading = "Storage")]
    pub encryption_provider_config: Option<FileText>,
    /// Read the configuration of encryption again when its file changes
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true", action = ArgAction::Set, help_heading = "Storage")]
    pub encryption_provider_config_automatic_reload: bool,
    #[command(flatten)]
    pub aggregation: Aggregation,
    #[command(flatten)]
    pub kubelets: Kubelets,
    #[command(flatten)]
    pub serving: Serving,
}

/// `key=value`; a key alone has an empty value.
fn setting(text: &str) -> Result<(String, String), std::convert::Infallible> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

/// A name, without blanks round it.
fn name(text: &str) -> Result<String, std::convert::Infallible> {
    Ok(text.trim().to_owned())
}

/// `key=value`.
fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
        None => Err("write name=value".to_owned()),
    }
}

impl Features {
    /// The flag whose file's content an error is about, and that file.
    pub(crate) fn blamed(&self, error: &Error) -> Option<(&'static str, &FileText)> {
        use crate::{audit, authn, authz};
        let (authn, authz) = (&self.authentication, &self.authorization);
        let (flag, file) = match error {
            Error::Encryption(_) => ("encryption-provider-config", &self.encryption_provider_config),
            Error::Authentication(authn::Error::Config(_)) => {
                ("authentication-config", &authn.authentication_config)
            }
            Error::Authentication(authn::Error::TokenFile(_)) => ("token-auth-file", &authn.token_auth_file),
            Error::Authentication(authn::Error::Webhook(_)) => (
                "authentication-token-webhook-config-file",
                &authn.authentication_token_webhook_config_file,
            ),
            Error::Authorization(authz::Error::Config(_)) => {
                ("authorization-config", &authz.authorization_config)
            }
            Error::Authorization(authz::Error::Webhook(_)) => (
                "authorization-webhook-config-file",
                &authz.authorization_webhook_config_file,
            ),
            Error::Audit(audit::Error::Policy(_)) => ("audit-policy-file", &self.audit.audit_policy_file),
            Error::Audit(audit::Error::Webhook(_)) => {
                ("audit-webhook-config-file", &self.audit.audit_webhook_config_file)
            }
            _ => return None,
        };
        file.as_ref().map(|file| (flag, file))
    }
}
