//! `rkind start`

use std::io::Read as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rkind_apiserver::options::Features;
use rkind_cluster::{Reporter as _, StartOptions, Started};
use rkind_config::{Cluster, Overrides, Problem, extra};

use super::{Outcome, image};
use crate::args::{Format, Global, StartArgs};
use crate::exit::{ExitStatus, Failure};
use crate::progress::{Progress, duration};
use crate::{context, printer};

/// What this rkind serves.
pub(crate) const KUBERNETES_VERSION: &str = "v1.35.0";

pub(crate) const DEFAULT_WAIT: Duration = Duration::from_secs(120);

/// kind's `create cluster`: an existing cluster is an error.
pub(crate) async fn create(global: &Global, name: Option<String>, args: StartArgs) -> Outcome {
    let cluster = read(global, name.as_deref(), &args)?;
    let clusters = context::clusters(global).await?;
    if clusters.names().await?.contains(&cluster.name) {
        return Err(rkind_cluster::Error::Exists(cluster.name).into());
    }
    run(global, name, args).await
}

pub(crate) async fn run(global: &Global, name: Option<String>, args: StartArgs) -> Outcome {
    let started = Instant::now();
    let cluster = read(global, name.as_deref(), &args)?;
    let wait = wait(&args)?;
    check_version(args.kubernetes_version.as_deref())?;
    let options = StartOptions {
        binary: match &args.binary {
            Some(path) => path.clone(),
            None => context::own_binary()?,
        },
        wait,
        retain: args.retain,
        keep_context: args.keep_context,
        kubeconfig: context::locations(args.kubeconfig.as_deref())?,
        cancel: context::wish_to_stop(),
    };
    let clusters = context::clusters(global).await?;
    if args.dry_run {
        return dry_run(&clusters, &cluster, &args).await;
    }
    let progress = Progress::new();
    let image = image::ensure(clusters.driver(), &cluster, &progress);
    let outcome = clusters.start(&cluster, image, &options, &progress).await?;
    let took = duration(started.elapsed());
    let name = &cluster.name;
    let count = clusters.nodes(name).await?.len();
    let nodes = if count == 1 {
        "1 node".to_owned()
    } else {
        format!("{count} nodes")
    };
    if outcome != Started::Created {
        let ignored = shape_flags(&args, count);
        if !ignored.is_empty() {
            progress.warn(&format!(
                "{name} was made before and keeps its shape: {} changed nothing; to make it anew, \
                 `rkind delete -p {name}` first",
                ignored.join(", ")
            ));
        }
    }
    match outcome {
        Started::AlreadyRunning => progress.line(&format!("Cluster {name} is running already: {nodes}.")),
        Started::Created | Started::Resumed => {
            progress.line(&format!(
                "Cluster {name} is up: {nodes}, Kubernetes {KUBERNETES_VERSION}, in {took}."
            ));
            if !args.keep_context {
                progress.line(&format!("kubectl uses it now (context {name:?})."));
            }
        }
    }
    if args.output != Format::Text {
        let status = clusters.status(name, &options.kubeconfig).await?;
        match args.output {
            Format::Yaml => printer::yaml(&status),
            _ => printer::json(&status),
        }
    }
    Ok(ExitStatus::Success)
}

/// The flags given that only a new cluster can follow. `--nodes` is none of them where it is how many
/// nodes there are.
fn shape_flags(args: &StartArgs, nodes: usize) -> Vec<&'static str> {
    let other_count = args.nodes.is_some_and(|wanted| wanted as usize != nodes);
    let given = [
        ("--nodes", other_count),
        ("--config", args.config.is_some()),
        ("--cpus", args.cpus.is_some()),
        ("--memory", args.memory.is_some()),
        ("--image", args.image.is_some()),
        ("--ports", !args.ports.is_empty()),
        ("--mount", !args.mount.is_empty()),
        ("--port", args.port.is_some()),
        ("--apiserver-address", args.apiserver_address.is_some()),
        ("--apiserver-names", !args.apiserver_names.is_empty()),
        ("--subnet", args.subnet.is_some()),
        ("--pod-subnet", args.pod_subnet.is_some()),
        (
            "--service-cluster-ip-range",
            args.service_cluster_ip_range.is_some(),
        ),
        ("--dns-domain", args.dns_domain.is_some()),
        ("--feature-gates", !args.feature_gates.is_empty()),
        ("--extra-config", !args.extra_config.is_empty()),
        ("--log-level", args.log_level.is_some()),
    ];
    given
        .into_iter()
        .filter_map(|(flag, given)| given.then_some(flag))
        .collect()
}

/// File and flags -> one valid cluster.
fn read(global: &Global, name: Option<&str>, args: &StartArgs) -> Result<Cluster, Failure> {
    let (mut file, base) = match &args.config {
        None => (rkind_config::v1alpha1::Cluster::default(), None),
        Some(path) => {
            let loaded = rkind_config::read(&read_file(path)?).map_err(|e| Failure {
                hint: None,
                ..prefixed(path, e.into())
            })?;
            for warning in &loaded.warnings {
                printer::warning(warning);
            }
            (loaded.cluster, path.parent().map(Path::to_owned))
        }
    };
    let name = name.or(global.profile.as_deref());
    if let Some(name) = name {
        context::check_name(name)?;
    }
    Overrides {
        name: name.map(str::to_owned),
        nodes: args.nodes,
        image: args.image.clone(),
        cpus: args.cpus.clone(),
        memory: args.memory.clone(),
        api_server_address: args.apiserver_address.clone(),
        api_server_port: args.port,
        api_server_names: args.apiserver_names.clone(),
        node_subnet: args.subnet.clone(),
        pod_subnet: args.pod_subnet.clone(),
        service_subnet: args.service_cluster_ip_range.clone(),
        dns_domain: args.dns_domain.clone(),
        ports: args.ports.clone(),
        mounts: args.mount.clone(),
        feature_gates: args.feature_gates.clone(),
        extra_config: args.extra_config.clone(),
        log_level: args.log_level.clone(),
    }
    .apply(&mut file)?;
    let mut cluster = file.into_cluster()?;
    check_apiserver(&cluster)?;
    let current = std::env::current_dir().map_err(|e| Failure::from_io("find the current directory", e))?;
    cluster.resolve_paths(&base.map_or_else(|| current.clone(), |base| current.join(base)));
    Ok(cluster)
}

/// The API server's own flags; files among them are the node's.
fn check_apiserver(cluster: &Cluster) -> Result<(), rkind_config::Error> {
    let flags = cluster.component_flags();
    let flags = flags.get(extra::APISERVER).into_iter().flatten();
    Features::check(flags.map(|(flag, value)| (flag.as_str(), value.as_str()))).map_err(|wrong| {
        let problems = wrong.into_iter().map(|misuse| {
            let field = match misuse.flag.as_str() {
                "runtime-config" if !cluster.runtime_config.is_empty() => "runtimeConfig".to_owned(),
                flag => extra::field(extra::APISERVER, flag),
            };
            Problem::new(field, misuse.why)
        });
        rkind_config::Error::Invalid(problems.collect())
    })
}

fn prefixed(path: &Path, mut failure: Failure) -> Failure {
    if let Some(first) = failure.chain.first_mut() {
        *first = format!("{}: {first}", path.display());
    }
    failure
}

fn read_file(path: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let result = if path == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).map(drop)
    } else {
        std::fs::read_to_string(path).map(|content| text = content)
    };
    match result {
        Ok(()) => Ok(text),
        Err(error) => {
            let mut failure = Failure::from_io(&format!("read {}", path.display()), error);
            failure.status = ExitStatus::Usage;
            Err(failure)
        }
    }
}

fn wait(args: &StartArgs) -> Result<Option<Duration>, Failure> {
    let patience = match &args.wait_timeout {
        Some(text) => context::parse_duration("--wait-timeout", text)?,
        None => DEFAULT_WAIT,
    };
    match args.wait.as_deref() {
        None | Some("true" | "all" | "default") => Ok(Some(patience)),
        Some("false" | "none") => Ok(None),
        Some(text) => {
            // kind's flag is a duration; zero does not wait.
            let patience = context::parse_duration("--wait", text)?;
            Ok((!patience.is_zero()).then_some(patience))
        }
    }
}

fn check_version(asked: Option<&str>) -> Result<(), Failure> {
    let Some(asked) = asked else { return Ok(()) };
    let plain = asked.trim_start_matches('v');
    let served = KUBERNETES_VERSION.trim_start_matches('v');
    if matches!(asked, "stable" | "latest") || plain == served || served.strip_suffix(".0") == Some(plain) {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "--kubernetes-version: {asked} is not served by this rkind"
    ))
    .hint(format!("leave it out, or use {KUBERNETES_VERSION}")))
}

async fn dry_run(clusters: &rkind_cluster::Clusters, cluster: &Cluster, args: &StartArgs) -> Outcome {
    let facts = clusters.driver().probe().await?;
    let progress = Progress::new();
    for missing in &facts.missing {
        progress.warn(&format!(
            "this host lacks {}: {}; {}",
            missing.what, missing.effect, missing.hint
        ));
    }
    if clusters.names().await?.contains(&cluster.name) {
        progress.line(&format!(
            "Cluster {} exists; it would be started if it is stopped.",
            cluster.name
        ));
    }
    match args.output {
        Format::Json => printer::json(cluster),
        _ => printer::yaml(cluster),
    }
    progress.line("Nothing was changed (--dry-run).");
    Ok(ExitStatus::Success)
}
