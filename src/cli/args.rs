//! Everything that can be typed. minikube's verbs are the main ones, kind's are
//! aliases.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::commands::apiserver::ApiserverArgs;
use crate::exit::CODES;

#[derive(Debug, Parser)]
#[command(
    name = "rkind",
    version,
    about = "Kubernetes clusters on this machine, in about a second",
    after_help = CODES,
    infer_subcommands = false,
    max_term_width = 100
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Global {
    /// Name of the cluster
    #[arg(short, long, global = true, env = "RKIND_PROFILE", value_name = "NAME")]
    pub profile: Option<String>,
    /// What nodes are made of
    #[arg(
        long,
        global = true,
        env = "RKIND_DRIVER",
        value_name = "DRIVER",
        default_value = "docker"
    )]
    pub driver: DriverName,
    /// Say more; twice for even more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DriverName {
    Docker,
    Podman,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    #[default]
    Text,
    Json,
    Yaml,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a cluster, or start a stopped one
    Start(Box<StartArgs>),
    /// Stop a cluster; its data stays
    Stop(StopArgs),
    /// Delete a cluster with everything that belongs to it
    Delete(DeleteArgs),
    /// Show how a cluster is
    Status(OutputArgs),
    /// List clusters
    #[command(visible_alias = "ls")]
    List(OutputArgs),
    /// Work with profiles: clusters by name
    Profile {
        #[command(subcommand)]
        command: ProfileCommand,
    },
    /// Work with images
    Image {
        #[command(subcommand)]
        command: ImageCommand,
    },
    /// Run the API server alone, on this machine: no nodes, no controllers
    Apiserver(Box<ApiserverArgs>),
    /// Run a shell or a command in a node
    Ssh(SshArgs),
    /// Run kubectl with the cluster's context
    Kubectl {
        /// Arguments for kubectl
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
        args: Vec<std::ffi::OsString>,
    },
    /// Show what nodes print
    Logs(LogsArgs),
    /// Work with nodes
    Node {
        #[command(subcommand)]
        command: NodeCommand,
    },
    /// Write the cluster's entries into the kubeconfig again
    UpdateContext,
    /// Show a node's address
    Ip {
        /// Name of the node [default: the control plane]
        #[arg(short, long, value_name = "NODE")]
        node: Option<String>,
    },
    /// Show versions
    Version(VersionArgs),
    /// Print a completion script
    Completion { shell: clap_complete::Shell },
    /// kind: `create cluster`
    Create {
        #[command(subcommand)]
        command: CreateCommand,
    },
    /// kind: `get clusters|nodes|kubeconfig`
    Get {
        #[command(subcommand)]
        command: GetCommand,
    },
    /// kind: `load docker-image|image-archive`
    Load {
        #[command(subcommand)]
        command: LoadCommand,
    },
    /// kind: `export kubeconfig|logs`
    Export {
        #[command(subcommand)]
        command: ExportCommand,
    },
    /// kind: `build node-image`
    Build {
        #[command(subcommand)]
        command: BuildCommand,
    },
}

#[derive(Clone, Debug, Default, Args)]
pub(crate) struct StartArgs {
    /// Number of nodes: one control plane, the rest workers
    #[arg(short, long, value_name = "N", help_heading = "Shape")]
    pub nodes: Option<u32>,
    /// Cluster file: rkind.dev/v1alpha1 or kind's v1alpha4; `-` is standard input
    #[arg(long, short = 'f', value_name = "FILE", help_heading = "Shape")]
    pub config: Option<PathBuf>,
    /// CPUs of each node: 2, 1.5, 500m, max
    #[arg(long, value_name = "CPUS", help_heading = "Shape")]
    pub cpus: Option<String>,
    /// Memory of each node: 4g, 512Mi, max; MiB without a unit
    #[arg(long, value_name = "SIZE", help_heading = "Shape")]
    pub memory: Option<String>,
    /// Node image [default: the one that this rkind makes]
    #[arg(long, value_name = "IMAGE", help_heading = "Shape")]
    pub image: Option<String>,
    /// Ports of the first node on this host: [address:]host:node[/tcp|udp|sctp]
    #[arg(long, value_name = "PORTS", value_delimiter = ',', help_heading = "Shape")]
    pub ports: Vec<String>,
    /// A path of this host in every node: host-path:node-path[:ro]
    #[arg(
        long,
        visible_alias = "mount-string",
        value_name = "MOUNT",
        help_heading = "Shape"
    )]
    pub mount: Vec<String>,

    /// Port of the API server on this host [default: a free one]
    #[arg(
        long,
        visible_alias = "apiserver-port",
        value_name = "PORT",
        help_heading = "Network"
    )]
    pub port: Option<u16>,
    /// Address of this host for the API server [default: 127.0.0.1]
    #[arg(
        long,
        visible_alias = "listen-address",
        value_name = "ADDRESS",
        help_heading = "Network"
    )]
    pub apiserver_address: Option<String>,
    /// More names and addresses for the API server's certificate
    #[arg(
        long,
        visible_aliases = ["apiserver-name", "apiserver-ips"],
        value_name = "NAMES",
        value_delimiter = ',',
        help_heading = "Network"
    )]
    pub apiserver_names: Vec<String>,
    /// Subnet of the nodes [default: a free one]
    #[arg(long, value_name = "CIDR", help_heading = "Network")]
    pub subnet: Option<String>,
    /// Subnet of pods [default: 10.244.0.0/16]
    #[arg(long, value_name = "CIDR", help_heading = "Network")]
    pub pod_subnet: Option<String>,
    /// Subnet of services [default: 10.96.0.0/16]
    #[arg(long, value_name = "CIDR", help_heading = "Network")]
    pub service_cluster_ip_range: Option<String>,
    /// Domain of the cluster's names [default: cluster.local]
    #[arg(long, value_name = "DOMAIN", help_heading = "Network")]
    pub dns_domain: Option<String>,

    /// Feature gates: Name=true|false
    #[arg(
        long,
        value_name = "GATES",
        value_delimiter = ',',
        help_heading = "Kubernetes"
    )]
    pub feature_gates: Vec<String>,
    /// Flags of components: component.key=value
    #[arg(long, value_name = "CONFIG", help_heading = "Kubernetes")]
    pub extra_config: Vec<String>,
    /// Kubernetes version; this rkind serves one
    #[arg(long, value_name = "VERSION", help_heading = "Kubernetes")]
    pub kubernetes_version: Option<String>,
    /// What components log: a level or a filter [default: info]
    #[arg(long, value_name = "FILTER", help_heading = "Kubernetes")]
    pub log_level: Option<String>,

    /// Wait until nodes are ready: a duration (90s, 5m), true, or false [default: 2m]
    #[arg(long, value_name = "WAIT", num_args = 0..=1, default_missing_value = "true", help_heading = "Behaviour")]
    pub wait: Option<String>,
    /// How long to wait
    #[arg(long, value_name = "DURATION", help_heading = "Behaviour")]
    pub wait_timeout: Option<String>,
    /// Keep the nodes of a start that failed
    #[arg(long, help_heading = "Behaviour")]
    pub retain: bool,
    /// Do not make it the current context
    #[arg(long, help_heading = "Behaviour")]
    pub keep_context: bool,
    /// Kubeconfig file [default: KUBECONFIG, else ~/.kube/config]
    #[arg(long, value_name = "FILE", help_heading = "Behaviour")]
    pub kubeconfig: Option<PathBuf>,
    /// Check everything, show what would be made, change nothing
    #[arg(long, help_heading = "Behaviour")]
    pub dry_run: bool,
    /// The binary that nodes run [default: this one]
    #[arg(long, value_name = "FILE", hide = true)]
    pub binary: Option<PathBuf>,
    /// How to print the result
    #[arg(
        short,
        long,
        value_enum,
        default_value = "text",
        value_name = "FORMAT",
        help_heading = "Behaviour"
    )]
    pub output: Format,
}

#[derive(Debug, Args)]
pub(crate) struct StopArgs {
    /// All clusters
    #[arg(long)]
    pub all: bool,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct DeleteArgs {
    #[command(subcommand)]
    pub command: Option<DeleteCommand>,
    #[command(flatten)]
    pub flags: DeleteFlags,
}

#[derive(Clone, Debug, Default, Args)]
pub(crate) struct DeleteFlags {
    /// All clusters
    #[arg(long)]
    pub all: bool,
    /// Kubeconfig file [default: KUBECONFIG, else ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeleteCommand {
    /// kind: delete one cluster
    Cluster {
        /// Name of the cluster
        #[arg(long)]
        name: Option<String>,
        #[arg(long, value_name = "FILE")]
        kubeconfig: Option<PathBuf>,
    },
    /// kind: delete several clusters
    Clusters {
        names: Vec<String>,
        #[command(flatten)]
        flags: DeleteFlags,
    },
}

#[derive(Debug, Args)]
pub(crate) struct OutputArgs {
    /// How to print
    #[arg(short, long, value_enum, default_value = "text", value_name = "FORMAT")]
    pub output: Format,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ProfileCommand {
    /// List clusters
    List(OutputArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// Load images of the local engine, or archives, into the nodes
    Load(LoadArgs),
    /// Make the node image
    BuildNode(BuildArgs),
}

#[derive(Debug, Args)]
pub(crate) struct LoadArgs {
    /// Names of images, or files
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<String>,
    /// Only into these nodes
    #[arg(long, visible_alias = "node", value_name = "NODES", value_delimiter = ',')]
    pub nodes: Vec<String>,
    /// Name of the cluster
    #[arg(long)]
    pub name: Option<String>,
}

#[derive(Clone, Debug, Default, Args)]
pub(crate) struct BuildArgs {
    /// Name of the image [default: a digest of its recipe]
    #[arg(long, visible_alias = "tag", value_name = "IMAGE")]
    pub image: Option<String>,
    /// Get the packages in a container of this Debian image, not on this machine
    #[arg(long, value_name = "IMAGE")]
    pub base_image: Option<String>,
    /// Make it even if it is there
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SshArgs {
    /// Name of the node [default: the control plane]
    #[arg(short, long, value_name = "NODE")]
    pub node: Option<String>,
    /// A command [default: a shell]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// Only this node
    #[arg(long, value_name = "NODE")]
    pub node: Option<String>,
    /// Go on with what comes
    #[arg(short, long)]
    pub follow: bool,
    /// The last so many lines of each node
    #[arg(short = 'n', long, default_value_t = 60, value_name = "LINES")]
    pub length: u32,
    /// Write to this file
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// List the nodes of a cluster
    List(OutputArgs),
    /// Add a worker
    Add(NodeAddArgs),
    /// Start a stopped node
    Start { name: String },
    /// Stop a node
    Stop { name: String },
    /// Delete a worker
    Delete { name: String },
    #[command(flatten)]
    Run(Role),
}

#[derive(Debug, Args)]
pub(crate) struct NodeAddArgs {
    /// A worker, which is the default
    #[arg(long)]
    pub worker: bool,
    /// CPUs of the node: 2, 1.5, 500m, max
    #[arg(long, value_name = "CPUS")]
    pub cpus: Option<String>,
    /// Memory of the node: 4g, 512Mi, max; MiB without a unit
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<String>,
    /// Keep a node that did not get ready
    #[arg(long)]
    pub retain: bool,
}

/// What a node runs; not for hosts.
#[derive(Debug, Subcommand)]
pub(crate) enum Role {
    #[command(hide = true)]
    Init {
        #[arg(long, default_value = rkind_config::paths::NODE_CONFIG)]
        config: String,
    },
    #[command(hide = true)]
    Server {
        #[arg(long, default_value = rkind_config::paths::NODE_CONFIG)]
        config: String,
    },
    #[command(hide = true)]
    Agent {
        #[arg(long, default_value = rkind_config::paths::NODE_CONFIG)]
        config: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct VersionArgs {
    #[command(flatten)]
    pub output: OutputArgs,
    /// Only the version
    #[arg(long)]
    pub short: bool,
    /// Versions of what runs in the cluster's nodes, too
    #[arg(long)]
    pub components: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CreateCommand {
    /// Make a cluster
    Cluster {
        /// Name of the cluster
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        start: Box<StartArgs>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum GetCommand {
    /// Names of clusters
    Clusters,
    /// Names of nodes
    Nodes {
        #[arg(long)]
        name: Option<String>,
        /// Of all clusters
        #[arg(short = 'A', long)]
        all_clusters: bool,
    },
    /// A kubeconfig of the cluster
    Kubeconfig {
        #[arg(long)]
        name: Option<String>,
        /// For use in the cluster's own network
        #[arg(long)]
        internal: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum LoadCommand {
    /// Load images of the local engine into the nodes
    DockerImage(LoadArgs),
    /// Load archives into the nodes
    ImageArchive(LoadArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum ExportCommand {
    /// Write the cluster's entries into the kubeconfig
    Kubeconfig {
        #[arg(long)]
        name: Option<String>,
        #[arg(long, value_name = "FILE")]
        kubeconfig: Option<PathBuf>,
    },
    /// Write the logs of nodes and pods into a directory
    Logs {
        /// [default: a new temporary directory]
        directory: Option<PathBuf>,
        #[arg(long)]
        name: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum BuildCommand {
    /// Make the node image
    NodeImage(BuildArgs),
}
