use std::time::Duration;

use clap::{ArgAction, Args};

use super::{FileText, pair};
use crate::deadline::duration;

/// Who may be believed.
#[derive(Args, Clone, Debug, PartialEq)]
#[command(next_help_heading = "Authentication")]
pub struct Authentication {
    /// Let requests without credentials in, as system:anonymous [default: true]
    ///
    /// Cannot be said where the authentication configuration has an `anonymous` section.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", action = ArgAction::Set)]
    pub anonymous_auth: Option<bool>,
    /// File with JWT issuers and the paths open to anonymous requests (AuthenticationConfiguration)
    #[arg(long, value_name = "FILE", value_parser = FileText::read)]
    pub authentication_config: Option<FileText>,
    #[command(flatten)]
    pub oidc: Option<Oidc>,
    /// Believe secrets of type bootstrap.kubernetes.io/token in kube-system
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true", action = ArgAction::Set)]
    pub enable_bootstrap_token_auth: bool,
    /// Authorities whose client certificates are believed beside the cluster's own
    #[arg(long, value_name = "FILE", value_parser = FileText::read)]
    pub client_ca_file: Option<FileText>,
    /// File with lines of token,user,uid,"group1,group2"
    #[arg(long, value_name = "FILE", value_parser = FileText::read)]
    pub token_auth_file: Option<FileText>,
    /// Kubeconfig of a webhook that judges bearer tokens
    #[arg(long, value_name = "FILE", value_parser = FileText::read)]
    pub authentication_token_webhook_config_file: Option<FileText>,
    /// Version of the TokenReview that the webhook is sent
    #[arg(long, value_name = "VERSION", value_parser = ["v1", "v1beta1"], default_value = "v1beta1")]
    pub authentication_token_webhook_version: String,
    /// How long the webhook's answers are kept
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "2m0s")]
    pub authentication_token_webhook_cache_ttl: Duration,
    #[command(flatten)]
    pub request_header: RequestHeader,
    /// Audiences that service accounts' tokens may be for [default: the issuer]
    #[arg(long, value_name = "AUDIENCES", value_delimiter = ',')]
    pub api_audiences: Vec<String>,
    /// URL of the keys of service accounts' tokens, as the discovery document names it [default: below the
    /// address that the server advertises]
    #[arg(long, value_name = "URL", value_parser = https)]
    pub service_account_jwks_uri: Option<String>,
    /// Let tokens of pods' default projection live a year; their use after the hour they asked for is
    /// noted
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true", action = ArgAction::Set)]
    pub service_account_extend_token_expiration: bool,
    /// The longest that a service account's token may live; 0 is no limit
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "0s")]
    pub service_account_max_token_expiration: Duration,
}

fn https(text: &str) -> Result<String, String> {
    match text.parse::<http::Uri>() {
        Ok(uri) if uri.scheme_str() == Some("https") => Ok(text.to_owned()),
        Ok(_) => Err(format!("requires https scheme, parsed as: {text}")),
        Err(error) => Err(format!("must be a valid URL: {error}")),
    }
}

impl Default for Authentication {
    fn default() -> Self {
        Authentication {
            anonymous_auth: None,
            authentication_config: None,
            oidc: None,
            enable_bootstrap_token_auth: false,
            client_ca_file: None,
            token_auth_file: None,
            authentication_token_webhook_config_file: None,
            authentication_token_webhook_version: "v1beta1".into(),
            authentication_token_webhook_cache_ttl: Duration::from_secs(120),
            request_header: RequestHeader::default(),
            api_audiences: Vec::new(),
            service_account_jwks_uri: None,
            service_account_extend_token_expiration: true,
            service_account_max_token_expiration: Duration::ZERO,
        }
    }
}

impl Authentication {
    /// The authorities of client certificates in PEM: the cluster's, and what else is believed. Upstream has
    /// only the latter where they are given; here the administrator's kubeconfig and the nodes' certificates
    /// are of the cluster's own authority, whose key never leaves the data folder, and go on to be valid.
    #[must_use]
    pub fn client_authorities(&self, cluster: &str) -> String {
        match &self.client_ca_file {
            Some(others) => format!("{}\n{}", cluster.trim_end(), &**others),
            None => cluster.to_owned(),
        }
    }
}

/// One OpenID Connect issuer.
#[derive(Args, Clone, Debug, Default, PartialEq)]
pub struct Oidc {
    /// URL of an OpenID Connect issuer; with https only
    #[arg(long, value_name = "URL", default_value = "", hide_default_value = true)]
    pub oidc_issuer_url: String,
    /// Client that the issuer's tokens are for
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    pub oidc_client_id: String,
    /// Authorities of the issuer's certificate [default: the system's]
    #[arg(long, value_name = "FILE", value_parser = FileText::read)]
    pub oidc_ca_file: Option<FileText>,
    /// Claim that names the user
    #[arg(long, value_name = "CLAIM", default_value = "sub")]
    pub oidc_username_claim: String,
    /// What users' names begin with; `-` is nothing [default: the issuer's URL and #, unless the claim
    /// is email]
    #[arg(long, value_name = "PREFIX", default_value = "", hide_default_value = true)]
    pub oidc_username_prefix: String,
    /// Claim that names the user's groups
    #[arg(long, value_name = "CLAIM", default_value = "", hide_default_value = true)]
    pub oidc_groups_claim: String,
    /// What groups' names begin with
    #[arg(long, value_name = "PREFIX", default_value = "", hide_default_value = true)]
    pub oidc_groups_prefix: String,
    /// Algorithms that tokens may be signed with
    #[arg(long, value_name = "ALGORITHMS", value_delimiter = ',', default_value = "RS256",
        value_parser = ["RS256", "RS384", "RS512", "ES256", "ES384", "PS256", "PS384", "PS512"])]
    pub oidc_signing_algs: Vec<String>,
    /// A claim that must be there, and its value; may be repeated
    #[arg(long, value_name = "CLAIM=VALUE", value_parser = pair)]
    pub oidc_required_claim: Vec<(String, String)>,
}

/// Which headers an authenticating front proxy sets, and which proxies may.
#[derive(Args, Clone, Debug, PartialEq)]
pub struct RequestHeader {
    /// Authorities of front proxies' certificates [default: the cluster's own]
    #[arg(long, value_name = "FILE", value_parser = FileText::read)]
    pub requestheader_client_ca_file: Option<FileText>,
    /// Common names of front proxies; an empty list is all that the authorities vouch for
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        default_value = "front-proxy-client"
    )]
    pub requestheader_allowed_names: Vec<String>,
    /// Headers with the user's name
    #[arg(
        long,
        value_name = "HEADERS",
        value_delimiter = ',',
        default_value = "X-Remote-User"
    )]
    pub requestheader_username_headers: Vec<String>,
    /// Headers with the user's UID
    #[arg(
        long,
        value_name = "HEADERS",
        value_delimiter = ',',
        default_value = "X-Remote-Uid"
    )]
    pub requestheader_uid_headers: Vec<String>,
    /// Headers with the user's groups
    #[arg(
        long,
        value_name = "HEADERS",
        value_delimiter = ',',
        default_value = "X-Remote-Group"
    )]
    pub requestheader_group_headers: Vec<String>,
    /// What headers with more about the user begin with
    #[arg(
        long,
        value_name = "PREFIXES",
        value_delimiter = ',',
        default_value = "X-Remote-Extra-"
    )]
    pub requestheader_extra_headers_prefix: Vec<String>,
}

impl Default for RequestHeader {
    fn default() -> Self {
        let one = |text: &str| vec![text.to_owned()];
        RequestHeader {
            requestheader_client_ca_file: None,
            requestheader_allowed_names: one("front-proxy-client"),
            requestheader_username_headers: one("X-Remote-User"),
            requestheader_uid_headers: one("X-Remote-Uid"),
            requestheader_group_headers: one("X-Remote-Group"),
            requestheader_extra_headers_prefix: one("X-Remote-Extra-"),
        }
    }
}
