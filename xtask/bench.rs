//! Measurements. A figure that is published comes from here, in one run on
//! one machine, with the command that gives it.

mod api;
mod start;

use anyhow::Result;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Seconds to all nodes Ready and to the first served request; memory of
    /// every process; image sizes
    Start(start::Args),
    /// The API server alone, and kube-apiserver with etcd beside it: requests
    /// per second, latencies, watch fan-out, memory
    Api(api::Args),
}

pub(crate) fn bench(args: &Args) -> Result<()> {
    match &args.what {
        What::Start(args) => start::measure(args),
        What::Api(args) => api::measure(args),
    }
}
