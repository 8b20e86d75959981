//! What may be switched on beside a server's needs. [`Features::default`] is a server with upstream's
//! defaults and everything optional off: what is not configured costs nothing.
//!
//! Each field names the kube-apiserver flag that it stands for
//! (<https://kubernetes.io/docs/reference/command-line-tools-reference/kube-apiserver/>). Where a
//! flag takes a file, the field takes that file's text.

use std::{path::PathBuf, time::Duration};

/// Everything optional, by stage of a request.
#[derive(Clone, Debug, Default)]
pub struct Features {
    pub authentication: Authentication,
    pub authorization: Authorization,
    pub flow_control: FlowControl,
    pub audit: Audit,
    /// `--encryption-provider-config`: an `apiserver.config.k8s.io/v1 EncryptionConfiguration` as
    /// YAML or JSON. `None` stores objects as they are.
    pub encryption: Option<String>,
    pub aggregation: Aggregation,
    pub serving: Serving,
}

/// Who may be believed.
#[derive(Clone, Debug)]
pub struct Authentication {
    /// `--anonymous-auth`. Does not hold when `config` has an `anonymous` section.
    pub anonymous: bool,
    /// `--authentication-config`: an `apiserver.config.k8s.io AuthenticationConfiguration` (v1,
    /// v1beta1 or v1alpha1) as YAML or JSON: JWT issuers and the paths open to anonymous requests.
    pub config: Option<String>,
    /// The classic `--oidc-*` flags. Refused together with `config`.
    pub oidc: Option<Oidc>,
    /// `--enable-bootstrap-token-auth`: secrets of type `bootstrap.kubernetes.io/token` in
    /// `kube-system` authenticate.
    pub bootstrap_tokens: bool,
    /// `--token-auth-file`: lines of `token,user,uid,"group1,group2"`.
    pub token_file: Option<String>,
    /// `--authentication-token-webhook-config-file`: a kubeconfig that names the webhook.
    pub webhook: Option<String>,
    /// `--authentication-token-webhook-cache-ttl`.
    pub webhook_cache: Duration,
    /// `--requestheader-*`. Holds only when [`crate::Options::front_proxy_ca_cert`] is not empty.
    pub request_header: RequestHeader,
    /// `--api-audiences`; empty: the service-account issuer.
    pub audiences: Vec<String>,
    /// `--service-account-extend-token-expiration`: tokens for pods' default projection live a year,
    /// and their use after the hour they asked for is noted.
    pub extend_token_expiration: bool,
    /// `--service-account-max-token-expiration`; zero: no limit.
    pub max_token_expiration: Duration,
}

impl Default for Authentication {
    fn default() -> Self {
        Authentication {
            anonymous: true,
            config: None,
            oidc: None,
            bootstrap_tokens: true,
            token_file: None,
            webhook: None,
            webhook_cache: Duration::from_secs(120),
            request_header: RequestHeader::default(),
            audiences: Vec::new(),
            extend_token_expiration: true,
            max_token_expiration: Duration::ZERO,
        }
    }
}

/// One OpenID Connect issuer, as the classic flags say it.
#[derive(Clone, Debug, Default)]
pub struct Oidc {
    /// `--oidc-issuer-url`.
    pub issuer_url: String,
    /// `--oidc-client-id`.
    pub client_id: String,
    /// Text of `--oidc-ca-file`; empty: the system's authorities.
    pub ca: String,
    /// `--oidc-username-claim`; empty: `sub`.
    pub username_claim: String,
    /// `--oidc-username-prefix`; empty: the issuer's URL and `#`, unless the claim is `email`. `-`
    /// is no prefix.
    pub username_prefix: String,
    /// `--oidc-groups-claim`.
    pub groups_claim: String,
    /// `--oidc-groups-prefix`.
    pub groups_prefix: String,
    /// `--oidc-signing-algs`; empty: `RS256`.
    pub signing_algs: Vec<String>,
    /// `--oidc-required-claim`: pairs of claim and value.
    pub required_claims: Vec<(String, String)>,
}

/// Which headers an authenticating front proxy sets, and which proxies may.
#[derive(Clone, Debug)]
pub struct RequestHeader {
    /// `--requestheader-allowed-names`; empty: every certificate of the front proxy's authority.
    pub allowed_names: Vec<String>,
    /// `--requestheader-username-headers`.
    pub username_headers: Vec<String>,
    /// `--requestheader-uid-headers`.
    pub uid_headers: Vec<String>,
    /// `--requestheader-group-headers`.
    pub group_headers: Vec<String>,
    /// `--requestheader-extra-headers-prefix`.
    pub extra_prefixes: Vec<String>,
}

impl Default for RequestHeader {
    fn default() -> Self {
        let one = |text: &str| vec![text.to_owned()];
        RequestHeader {
            allowed_names: one("front-proxy-client"),
            username_headers: one("X-Remote-User"),
            uid_headers: one("X-Remote-Uid"),
            group_headers: one("X-Remote-Group"),
            extra_prefixes: one("X-Remote-Extra-"),
        }
    }
}

/// Who is asked whether somebody may.
#[derive(Clone, Debug)]
pub struct Authorization {
    /// `--authorization-mode`, in order: `RBAC`, `Node`, `Webhook`, `AlwaysAllow`, `AlwaysDeny`.
    /// Empty: `Node`, then `RBAC`.
    pub modes: Vec<String>,
    /// `--authorization-webhook-config-file`: a kubeconfig that names the webhook.
    pub webhook: Option<String>,
    /// `--authorization-webhook-cache-authorized-ttl`.
    pub authorized_cache: Duration,
    /// `--authorization-webhook-cache-unauthorized-ttl`.
    pub unauthorized_cache: Duration,
}

impl Default for Authorization {
    fn default() -> Self {
        Authorization {
            modes: Vec::new(),
            webhook: None,
            authorized_cache: Duration::from_secs(300),
            unauthorized_cache: Duration::from_secs(30),
        }
    }
}

/// How many requests are served at once, and who waits.
#[derive(Clone, Debug)]
pub struct FlowControl {
    /// `--enable-priority-and-fairness`.
    pub enabled: bool,
    /// `--max-requests-inflight`; with `max_mutating_requests` it is the number of seats that
    /// priority levels share.
    pub max_requests: usize,
    /// `--max-mutating-requests-inflight`.
    pub max_mutating_requests: usize,
}

impl Default for FlowControl {
    fn default() -> Self {
        FlowControl {
            enabled: true,
            max_requests: 400,
            max_mutating_requests: 200,
        }
    }
}

/// What is written down of requests.
#[derive(Clone, Debug, Default)]
pub struct Audit {
    /// `--audit-policy-file`: an `audit.k8s.io/v1 Policy` as YAML or JSON. `None`: no audit.
    pub policy: Option<String>,
    /// `--audit-log-path`; `-` is standard output.
    pub log_path: Option<PathBuf>,
    /// `--audit-log-maxage` in days; 0: kept for ever.
    pub log_max_age: u32,
    /// `--audit-log-maxbackup`; 0: all are kept.
    pub log_max_backup: u32,
    /// `--audit-log-maxsize` in megabytes; 0: 100.
    pub log_max_size: u32,
    /// `--audit-webhook-config-file`: a kubeconfig that names the webhook.
    pub webhook: Option<String>,
    /// `--audit-webhook-batch-max-size`; 0: 400.
    pub webhook_batch_size: usize,
    /// `--audit-webhook-batch-max-wait`; zero: 30 s.
    pub webhook_batch_wait: Duration,
}

/// APIs that other servers serve.
#[derive(Clone, Debug, Default)]
pub struct Aggregation {
    /// Texts of `--proxy-client-cert-file` and `--proxy-client-key-file`: what this server shows to
    /// extension API servers. They believe the `X-Remote-*` headers only from whom holds it.
    pub proxy_client: Option<(String, String)>,
}

/// How connections and requests are treated.
#[derive(Clone, Debug)]
pub struct Serving {
    /// `--request-timeout`: deadline of what is neither a watch nor a stream.
    pub request_timeout: Duration,
    /// `--shutdown-delay-duration`: how long requests are still accepted after `/readyz` began to
    /// fail.
    pub shutdown_delay: Duration,
    /// How long requests under way may take to end at shutdown.
    pub drain: Duration,
    /// `--goaway-chance`: share of HTTP/2 requests after which the client is told to connect anew,
    /// at most 0.02.
    pub goaway_chance: f64,
    /// `--cors-allowed-origins`: regular expressions.
    pub cors_allowed_origins: Vec<String>,
    /// `--strict-transport-security-directives`, such as `max-age=31536000`.
    pub hsts_directives: Vec<String>,
}

impl Default for Serving {
    fn default() -> Self {
        Serving {
            request_timeout: Duration::from_secs(60),
            shutdown_delay: Duration::ZERO,
            drain: Duration::from_secs(5),
            goaway_chance: 0.0,
            cors_allowed_origins: Vec::new(),
            hsts_directives: Vec::new(),
        }
    }
}
