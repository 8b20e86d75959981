//! `rkind apiserver`: an API server alone. Flags that kube-apiserver has keep its names.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::Args;
use ipnet::IpNet;
use rkind_apiserver::options::Features;
use rkind_apiserver::standalone::{self, Options};
use serde_json::json;

use super::Outcome;
use crate::args::Format;
use crate::exit::{ExitStatus, Failure};
use crate::printer::LogFormat;
use crate::{context, printer};

#[derive(Debug, Args)]
pub(crate) struct ApiserverArgs {
    /// How to print where the server is, once it is ready
    #[arg(short, long, value_enum, default_value = "text", value_name = "FORMAT")]
    pub output: Format,

    /// How to write the log, which goes to standard error
    #[arg(long, value_enum, default_value = "text", value_name = "FORMAT")]
    pub logging_format: LogFormat,

    /// Folder of the data, keys and the admin's kubeconfig; made if missing
    #[arg(long, value_name = "FOLDER", help_heading = "Serving")]
    pub data_dir: PathBuf,
    /// Address to listen at
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "127.0.0.1",
        help_heading = "Serving"
    )]
    pub bind_address: IpAddr,
    /// Port to listen at; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 6443, help_heading = "Serving")]
    pub secure_port: u16,
    /// Address at which others reach the server [default: the one to listen at]
    #[arg(long, value_name = "ADDRESS", help_heading = "Serving")]
    pub advertise_address: Option<IpAddr>,

    /// Subnet of services
    #[arg(
        long,
        value_name = "CIDR",
        default_value = "10.96.0.0/16",
        help_heading = "Kubernetes"
    )]
    pub service_cluster_ip_range: IpNet,
    /// First and last port that services may take on nodes
    #[arg(long, value_name = "FIRST-LAST", default_value = "30000-32767", value_parser = ports, help_heading = "Kubernetes")]
    pub service_node_port_range: (u16, u16),
    /// Issuer of service accounts' tokens
    #[arg(
        long,
        value_name = "URL",
        default_value = standalone::ISSUER,
        help_heading = "Kubernetes"
    )]
    pub service_account_issuer: String,
    #[command(flatten)]
    pub features: Features,
}

/// `30000-32767`.
fn ports(text: &str) -> Result<(u16, u16), String> {
    let range = text.split_once('-').and_then(|(first, last)| {
        let range: (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
        (range.0 > 0 && range.0 <= range.1).then_some(range)
    });
    range.ok_or_else(|| "write the first and the last port, such as 30000-32767".into())
}

pub(crate) async fn run(args: Box<ApiserverArgs>) -> Outcome {
    let stop = context::wish_to_stop_saying("Stopping; once more ends it at once.");
    let address = SocketAddr::new(args.bind_address, args.secure_port);
    let options = Options {
        advertise_address: args.advertise_address,
        service_subnet: args.service_cluster_ip_range,
        node_port_range: args.service_node_port_range,
        issuer: args.service_account_issuer,
        features: args.features,
        ..Options::new(args.data_dir, address)
    };
    let server = standalone::start(options).await?;
    let endpoint = format!("https://{}", server.endpoint);
    let kubeconfig = server.kubeconfig.display().to_string();
    let ready = json!({ "endpoint": endpoint, "kubeconfig": kubeconfig });
    match args.output {
        Format::Text => printer::data(&format!("Ready at {endpoint}\nexport KUBECONFIG={kubeconfig}")),
        Format::Json => printer::json(&ready),
        Format::Yaml => printer::yaml(&ready),
    }
    server.serve(stop).await?;
    Ok(ExitStatus::Success)
}

impl From<rkind_apiserver::Error> for Failure {
    fn from(error: rkind_apiserver::Error) -> Self {
        use rkind_apiserver::Error;
        let (status, hint) = match &error {
            Error::Listen { source, .. } if source.kind() == std::io::ErrorKind::AddrInUse => (
                ExitStatus::Failure,
                Some("choose another port with --secure-port; 0 takes a free one"),
            ),
            Error::InUse(_) => (
                ExitStatus::Failure,
                Some("stop the server that runs on it, or name another folder with --data-dir"),
            ),
            Error::Plugin(wrong) => (ExitStatus::Usage, Some(wrong.hint())),
            Error::Apis(_)
            | Error::File { .. }
            | Error::Authentication(_)
            | Error::Authorization(_)
            | Error::Origins(_)
            | Error::Tls(_) => (ExitStatus::Usage, None),
            _ => (ExitStatus::Failure, None),
        };
        let failure = Failure::of(status, &error, None);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}
