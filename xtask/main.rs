//! The project's own chores, run as `cargo xtask <verb>`.
//!
//! Comes in: a source checkout and what the host has. Goes out: built
//! artifacts, test results, measurements. It knows the workspace only through
//! cargo and the `rkind` binary it builds: it never links a room.

mod bench;
mod check;
mod compare;
mod conformance;
mod generate;
mod host;
mod layers;
mod licences;
mod run;
mod start;
mod test;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Build, check, test and measure rkind")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// From a fresh clone to a running three-node cluster
    Start(start::Args),
    /// Formatting, lints, crate graph, licences, file sizes, generated tables
    Check(check::Args),
    /// Every test: unit, contract, crash and end to end on real nodes
    Test(test::Args),
    /// Upstream's conformance tests against two nodes; prints a table by area
    Conformance(conformance::Args),
    /// Our API server and a kube-apiserver, asked the same: prints where they answer otherwise
    Compare(compare::Args),
    /// Measure; prints a table and, with --json, the raw figures
    Bench(bench::Args),
    /// Build the node image with the release binary
    Image(start::ImageArgs),
    /// Hold the crate graph against xtask/layers.txt
    Layers(layers::Args),
    /// Regenerate the API schema table from upstream's published types
    Generate(GenerateArgs),
}

#[derive(clap::Args)]
struct GenerateArgs {
    /// Change nothing; fail if the committed table differs
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().verb {
        Verb::Start(args) => start::start(&args),
        Verb::Check(args) => check::check(&args),
        Verb::Test(args) => test::test(&args),
        Verb::Conformance(args) => conformance::conformance(&args),
        Verb::Compare(args) => compare::compare(&args),
        Verb::Bench(args) => bench::bench(&args),
        Verb::Image(args) => start::image(&args),
        Verb::Layers(args) => layers::layers(&args),
        Verb::Generate(args) if args.check => generate::check(),
        Verb::Generate(_) => generate::run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
