use std::time::Duration;

use clap::Args;

use super::FileText;
use crate::deadline::duration;

/// Who is asked whether somebody may.
#[derive(Args, Clone, Debug, PartialEq)]
#[command(next_help_heading = "Authorization")]
pub struct Authorization {
    /// Who is asked, in order: AlwaysAllow, AlwaysDeny, Node, RBAC, Webhook [default: Node,RBAC]
    #[arg(long, value_name = "MODES", value_delimiter = ',')]
    pub authorization_mode: Vec<String>,
    /// File with the chain of authorizers (AuthorizationConfiguration), instead of the other
    /// authorization flags
    #[arg(long, value_name = "FILE", value_parser = FileText::read)]
    pub authorization_config: Option<FileText>,
    /// Kubeconfig of the webhook of mode Webhook
    #[arg(long, value_name = "FILE", value_parser = FileText::read)]
    pub authorization_webhook_config_file: Option<FileText>,
    /// Version of the SubjectAccessReview that the webhook is sent
    #[arg(long, value_name = "VERSION", value_parser = ["v1", "v1beta1"], default_value = "v1beta1")]
    pub authorization_webhook_version: String,
    /// How long the webhook's consent is kept
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "5m0s")]
    pub authorization_webhook_cache_authorized_ttl: Duration,
    /// How long the webhook's refusal is kept
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "30s")]
    pub authorization_webhook_cache_unauthorized_ttl: Duration,
}

impl Default for Authorization {
    fn default() -> Self {
        Authorization {
            authorization_mode: Vec::new(),
            authorization_config: None,
            authorization_webhook_config_file: None,
            authorization_webhook_version: "v1beta1".into(),
            authorization_webhook_cache_authorized_ttl: Duration::from_secs(300),
            authorization_webhook_cache_unauthorized_ttl: Duration::from_secs(30),
        }
    }
}

impl Authorization {
    /// Whether any flag but the configuration's is set.
    pub(crate) fn is_classic(&self) -> bool {
        let rest = Authorization {
            authorization_config: None,
            ..self.clone()
        };
        rest != Authorization::default()
    }
}
