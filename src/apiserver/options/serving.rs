use std::time::Duration;

use clap::{ArgAction, Args};

use super::{FileText, file::text_of};
use crate::deadline::duration;

/// How many requests are served at once, and who waits.
#[derive(Args, Clone, Debug, PartialEq)]
#[command(next_help_heading = "Requests")]
pub struct FlowControl {
    /// Let requests wait in fair queues by FlowSchema and PriorityLevelConfiguration
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true", action = ArgAction::Set)]
    pub enable_priority_and_fairness: bool,
    /// Reads served at once; with the next flag's, what priority levels share
    #[arg(long, value_name = "NUMBER", default_value_t = 400)]
    pub max_requests_inflight: usize,
    /// Writes served at once
    #[arg(long, value_name = "NUMBER", default_value_t = 200)]
    pub max_mutating_requests_inflight: usize,
}

impl Default for FlowControl {
    fn default() -> Self {
        FlowControl {
            enable_priority_and_fairness: true,
            max_requests_inflight: 400,
            max_mutating_requests_inflight: 200,
        }
    }
}

/// APIs that other servers serve. They believe the `X-Remote-*` headers only from whom holds this key.
#[derive(Args, Clone, Debug, Default, PartialEq)]
#[command(next_help_heading = "Aggregation")]
pub struct Aggregation {
    /// Certificate shown to extension API servers [default: the cluster's own]
    #[arg(long, value_name = "FILE", value_parser = FileText::read, requires = "proxy_client_key_file")]
    pub proxy_client_cert_file: Option<FileText>,
    /// Its key
    #[arg(long, value_name = "FILE", value_parser = FileText::read, requires = "proxy_client_cert_file")]
    pub proxy_client_key_file: Option<FileText>,
}

impl Aggregation {
    /// Uses this certificate and key, unless others are configured.
    pub fn or_client(&mut self, certificate: String, key: String) {
        if self.proxy_client_cert_file.is_none() {
            self.proxy_client_cert_file = Some(certificate.into());
            self.proxy_client_key_file = Some(key.into());
        }
    }
}

/// How connections and requests are treated.
#[derive(Args, Clone, Debug, PartialEq)]
#[command(next_help_heading = "Requests")]
pub struct Serving {
    /// How long a request may take that is neither a watch nor a stream
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "1m0s")]
    pub request_timeout: Duration,
    /// Seconds that a watch lives at least, unless its client says how long
    #[arg(long, value_name = "SECONDS", default_value_t = 1800)]
    pub min_request_timeout: u32,
    /// How long requests are still accepted after /readyz began to fail
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "0s")]
    pub shutdown_delay_duration: Duration,
    /// How long requests under way may take to end at shutdown.
    #[arg(skip = Serving::default().drain)]
    pub drain: Duration,
    /// Share of HTTP/2 requests after which a client is told to connect anew, at most 0.02
    #[arg(long, value_name = "SHARE", value_parser = share, default_value_t = 0.0)]
    pub goaway_chance: f64,
    /// Origins that browsers may ask from: regular expressions
    #[arg(long, value_name = "PATTERNS", value_delimiter = ',')]
    pub cors_allowed_origins: Vec<String>,
    /// Directives of Strict-Transport-Security, such as max-age=31536000
    #[arg(long, value_name = "DIRECTIVES", value_delimiter = ',')]
    pub strict_transport_security_directives: Vec<String>,
    /// Certificate to serve, with what leads to its authority [default: one of the cluster's authority]
    #[arg(long, value_name = "FILE", value_parser = FileText::read, requires = "tls_private_key_file", help_heading = "Serving")]
    pub tls_cert_file: Option<FileText>,
    /// Its key
    #[arg(long, value_name = "FILE", value_parser = FileText::read, requires = "tls_cert_file", help_heading = "Serving")]
    pub tls_private_key_file: Option<FileText>,
    /// Further certificate for clients that ask for its names, or for those given; may be repeated
    #[arg(long, value_name = "CERTIFICATE,KEY[:NAMES]", value_parser = NamedPair::read, help_heading = "Serving")]
    pub tls_sni_cert_key: Vec<NamedPair>,
    /// Oldest version of TLS that clients may speak
    #[arg(long, value_name = "VERSION", value_parser = ["VersionTLS10", "VersionTLS11", "VersionTLS12", "VersionTLS13"],
        default_value = "VersionTLS12", help_heading = "Serving")]
    pub tls_min_version: String,
    /// Cipher suites for TLS 1.2, by Go's names [default: all that are safe]
    #[arg(long, value_name = "SUITES", value_delimiter = ',', help_heading = "Serving")]
    pub tls_cipher_suites: Vec<String>,
}

impl Default for Serving {
    fn default() -> Self {
        Serving {
            request_timeout: Duration::from_secs(60),
            min_request_timeout: 1800,
            shutdown_delay_duration: Duration::ZERO,
            drain: Duration::from_secs(5),
            goaway_chance: 0.0,
            cors_allowed_origins: Vec::new(),
            strict_transport_security_directives: Vec::new(),
            tls_cert_file: None,
            tls_private_key_file: None,
            tls_sni_cert_key: Vec::new(),
            tls_min_version: "VersionTLS12".into(),
            tls_cipher_suites: Vec::new(),
        }
    }
}

/// A certificate with its key, in PEM, and the names that it is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamedPair {
    pub certificate: String,
    pub key: String,
    /// Names, `*.` in front for all of one domain; empty: the certificate's own.
    pub names: Vec<String>,
}

impl NamedPair {
    /// Reads the files of `CERTIFICATE,KEY` or `CERTIFICATE,KEY:NAME,NAME`.
    fn read(text: &str) -> Result<NamedPair, String> {
        let (files, names) = text.split_once(':').unwrap_or((text, ""));
        let (certificate, key) = files
            .split_once(',')
            .ok_or("expected comma separated certificate and key file paths")?;
        let read = |path: &str| text_of(path).map_err(|error| format!("{path}: {error}"));
        let names = names.split(',').map(str::trim).filter(|name| !name.is_empty());
        Ok(NamedPair {
            certificate: read(certificate)?,
            key: read(key)?,
            names: names.map(str::to_ascii_lowercase).collect(),
        })
    }
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=0.02).contains(&share) => Ok(share),
        _ => Err("can not be less than 0 or greater than 0.02".to_owned()),
    }
}
