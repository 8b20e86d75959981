//! `rkind`: the command line on the host, and every role in a node.
//!
//! In: arguments. Out: data on standard output, everything else on standard
//! error, a documented exit code. It orders no steps and knows no backend's
//! insides: `cluster` does, `node` is what runs in nodes.

mod args;
mod commands;
mod context;
mod exit;
mod printer;
mod progress;

use std::path::Path;
use std::process::ExitCode;

use clap::Parser as _;

use args::{Cli, Command, NodeCommand};
use exit::{ExitStatus, Failure};

/// The C library's allocator took a quarter of the server's time, and kept what it was given back; mimalloc is
/// as fast as this one and took a fifth more memory for 100,000 objects.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    // containerd calls the same file as a CNI plugin.
    if std::env::var_os("CNI_COMMAND").is_some() {
        return rkind_node::cni_plugin();
    }
    // An installed provider can only be there once; whoever was first is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let status = if error.use_stderr() {
                ExitStatus::Usage
            } else {
                ExitStatus::Success
            };
            let _ = error.print();
            return status.into();
        }
    };
    // Roles in a node make their own runtimes and logs.
    if let Command::Node {
        command: NodeCommand::Run(role),
    } = &cli.command
    {
        return match role {
            args::Role::Init { config } => {
                if let Err(error) = rkind_node_image::seed_var() {
                    // The node runs without: it can fetch images as any node does.
                    printer::warning(&Failure::from(error).chain.join(": "));
                }
                rkind_node::init(Path::new(config))
            }
            args::Role::Server { config } => rkind_node::server(Path::new(config)),
            args::Role::Agent { config } => rkind_node::agent(Path::new(config)),
        };
    }
    let (serves, form) = match &cli.command {
        Command::Apiserver(args) => (true, args.logging_format),
        _ => (false, printer::LogFormat::default()),
    };
    printer::start_log(cli.global.verbose, if serves { "warn" } else { "off" }, form);
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if serves {
        builder.thread_stack_size(rkind_apiserver::STACK);
    } else {
        builder.worker_threads(2);
    }
    let runtime = match builder.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return printer::failure(&Failure::from_io("start the runtime", error)),
    };
    let result = runtime.block_on(commands::run(cli));
    // A blocked read of the terminal must not hold up the end.
    runtime.shutdown_background();
    match result {
        Ok(status) => status.into(),
        Err(failure) => printer::failure(&failure),
    }
}
