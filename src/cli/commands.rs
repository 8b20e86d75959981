//! One file per command.

pub(crate) mod apiserver;
mod completion;
mod delete;
mod image;
mod kubeconfig;
mod kubectl;
mod list;
mod logs;
mod node;
mod ssh;
mod start;
mod status;
mod stop;
mod version;

use crate::args::{
    BuildCommand, Cli, Command, CreateCommand, ExportCommand, GetCommand, ImageCommand, LoadCommand,
    NodeCommand, ProfileCommand,
};
use crate::exit::{ExitStatus, Failure};

type Outcome = Result<ExitStatus, Failure>;

pub(crate) async fn run(cli: Cli) -> Outcome {
    let global = &cli.global;
    match cli.command {
        Command::Start(args) => start::run(global, None, *args).await,
        Command::Create {
            command: CreateCommand::Cluster { name, start },
        } => start::create(global, name, *start).await,
        Command::Stop(args) => stop::run(global, args).await,
        Command::Delete(args) => delete::run(global, args).await,
        Command::Status(args) => status::run(global, args).await,
        Command::List(args)
        | Command::Profile {
            command: ProfileCommand::List(args),
        } => list::run(global, args).await,
        Command::Image {
            command: ImageCommand::Load(args),
        }
        | Command::Load {
            command: LoadCommand::DockerImage(args) | LoadCommand::ImageArchive(args),
        } => image::load(global, args).await,
        Command::Image {
            command: ImageCommand::BuildNode(args),
        }
        | Command::Build {
            command: BuildCommand::NodeImage(args),
        } => image::build(global, args).await,
        Command::Apiserver(args) => apiserver::run(args).await,
        Command::Ssh(args) => ssh::run(global, args).await,
        Command::Kubectl { args } => kubectl::run(global, args),
        Command::Logs(args) => logs::run(global, args).await,
        Command::Node {
            command: NodeCommand::List(args),
        } => node::list(global, args).await,
        Command::Node {
            command: NodeCommand::Add(args),
        } => node::add(global, args).await,
        Command::Node {
            command: NodeCommand::Start { name },
        } => node::start(global, &name).await,
        Command::Node {
            command: NodeCommand::Stop { name },
        } => node::stop(global, &name).await,
        Command::Node {
            command: NodeCommand::Delete { name },
        } => node::delete(global, &name).await,
        // Dispatched before there is a runtime.
        Command::Node {
            command: NodeCommand::Run(_),
        } => Ok(ExitStatus::Usage),
        Command::Ip { node } => node::ip(global, node).await,
        Command::Version(args) => version::run(global, args).await,
        Command::Completion { shell } => Ok(completion::run(shell)),
        Command::UpdateContext => kubeconfig::export(global, None, None).await,
        Command::Export {
            command: ExportCommand::Kubeconfig { name, kubeconfig },
        } => kubeconfig::export(global, name, kubeconfig).await,
        Command::Export {
            command: ExportCommand::Logs { directory, name },
        } => logs::export(global, name, directory).await,
        Command::Get {
            command: GetCommand::Clusters,
        } => list::names(global).await,
        Command::Get {
            command: GetCommand::Nodes { name, all_clusters },
        } => node::names(global, name, all_clusters).await,
        Command::Get {
            command: GetCommand::Kubeconfig { name, internal },
        } => kubeconfig::print(global, name, internal).await,
    }
}
