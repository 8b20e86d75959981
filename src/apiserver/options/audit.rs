use std::{path::PathBuf, time::Duration};

use clap::{ArgAction, Args};

use super::FileText;
use crate::deadline::duration;

/// What is written down of requests.
#[derive(Args, Clone, Debug, PartialEq)]
#[command(next_help_heading = "Audit")]
pub struct Audit {
    /// File with what to write down of which requests (Policy); without it, nothing is
    #[arg(long, value_name = "FILE", value_parser = FileText::read)]
    pub audit_policy_file: Option<FileText>,
    /// Where to write events, one JSON object to a line; `-` is standard output
    #[arg(long, value_name = "PATH")]
    pub audit_log_path: Option<PathBuf>,
    /// Days that old logs are kept; 0 is for ever
    #[arg(long, value_name = "DAYS", default_value_t = 0)]
    pub audit_log_maxage: u32,
    /// How many old logs are kept; 0 is all
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub audit_log_maxbackup: u32,
    /// Megabytes after which a log is set aside; 0 is 100
    #[arg(long, value_name = "MEGABYTES", default_value_t = 0)]
    pub audit_log_maxsize: u32,
    /// Pack logs that are set aside with gzip
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true", action = ArgAction::Set)]
    pub audit_log_compress: bool,
    /// Kubeconfig of a webhook that is sent events
    #[arg(long, value_name = "FILE", value_parser = FileText::read)]
    pub audit_webhook_config_file: Option<FileText>,
    /// Events that may wait for the webhook
    #[arg(long, value_name = "NUMBER", default_value_t = 10_000)]
    pub audit_webhook_batch_buffer_size: usize,
    /// Events that are sent at once, at most
    #[arg(long, value_name = "NUMBER", default_value_t = 400)]
    pub audit_webhook_batch_max_size: usize,
    /// How long an event waits for others
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "30s")]
    pub audit_webhook_batch_max_wait: Duration,
    /// How long to wait before events are sent again
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "10s")]
    pub audit_webhook_initial_backoff: Duration,
}

impl Default for Audit {
    fn default() -> Self {
        Audit {
            audit_policy_file: None,
            audit_log_path: None,
            audit_log_maxage: 0,
            audit_log_maxbackup: 0,
            audit_log_maxsize: 0,
            audit_log_compress: false,
            audit_webhook_config_file: None,
            audit_webhook_batch_buffer_size: 10_000,
            audit_webhook_batch_max_size: 400,
            audit_webhook_batch_max_wait: Duration::from_secs(30),
            audit_webhook_initial_backoff: Duration::from_secs(10),
        }
    }
}
