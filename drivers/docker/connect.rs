//! Finding the engine.

use std::path::{Path, PathBuf};

use bollard::{API_DEFAULT_VERSION, Docker};
use rkind_driver::Error;
use serde::Deserialize;

/// Seconds until an answer's head must be there: loading an image is one request.
const TIMEOUT: u64 = 900;

/// Where an engine is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `docker` or `podman`.
    pub engine: &'static str,
    /// `unix:///run/docker.sock`, `tcp://host:port`
    pub host: String,
    /// Why this one: for messages.
    pub chosen_by: String,
}

impl Endpoint {
    /// The docker client's choice.
    pub fn docker() -> Self {
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let config = std::env::var_os("DOCKER_CONFIG")
            .map(PathBuf::from)
            .or_else(|| home.map(|home| home.join(".docker")))
            .unwrap_or_default();
        Self::choose(&|name| std::env::var(name).ok(), &config)
    }

    pub(crate) fn choose(variable: &dyn Fn(&str) -> Option<String>, config: &Path) -> Self {
        let set = |name: &str| variable(name).filter(|v| !v.is_empty());
        let endpoint = |host: String, chosen_by: String| Endpoint {
            engine: "docker",
            host,
            chosen_by,
        };
        if let Some(host) = set("DOCKER_HOST") {
            return endpoint(host, "DOCKER_HOST".to_owned());
        }
        let context = set("DOCKER_CONTEXT").or_else(|| current_context(config));
        if let Some(context) = context.filter(|c| c != "default")
            && let Some(host) = context_host(config, &context)
        {
            return endpoint(host, format!("the docker context {context:?}"));
        }
        endpoint(
            "unix:///var/run/docker.sock".to_owned(),
            "the default socket".to_owned(),
        )
    }

    /// Podman's sockets.
    pub fn podman() -> Self {
        let user =
            std::env::var_os("XDG_RUNTIME_DIR").map(|dir| PathBuf::from(dir).join("podman/podman.sock"));
        let found = user.filter(|path| path.exists());
        let path = found.unwrap_or_else(|| PathBuf::from("/run/podman/podman.sock"));
        let host = std::env::var("CONTAINER_HOST").unwrap_or_else(|_| format!("unix://{}", path.display()));
        Endpoint {
            engine: "podman",
            host,
            chosen_by: "podman's socket".to_owned(),
        }
    }

    /// Its ports and paths are those of this machine.
    pub fn is_local(&self) -> bool {
        self.host.starts_with("unix://") || self.host.starts_with('/')
    }
}

fn current_context(config: &Path) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Config {
        current_context: Option<String>,
    }
    let text = std::fs::read_to_string(config.join("config.json")).ok()?;
    serde_json::from_str::<Config>(&text)
        .ok()?
        .current_context
        .filter(|c| !c.is_empty())
}

/// Contexts are directories named by a hash; each says its own name.
fn context_host(config: &Path, context: &str) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Meta {
        name: String,
        endpoints: std::collections::BTreeMap<String, DockerEndpoint>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct DockerEndpoint {
        host: Option<String>,
    }
    let entries = std::fs::read_dir(config.join("contexts/meta")).ok()?;
    entries.flatten().find_map(|entry| {
        let text = std::fs::read_to_string(entry.path().join("meta.json")).ok()?;
        let mut meta: Meta = serde_json::from_str(&text).ok()?;
        if meta.name == context {
            meta.endpoints.remove("docker")?.host
        } else {
            None
        }
    })
}

pub(crate) async fn connect(endpoint: &Endpoint) -> Result<Docker, Error> {
    let unreachable = |source: bollard::errors::Error| Error::Unreachable {
        engine: format!(
            "the {} engine at {} (from {})",
            endpoint.engine, endpoint.host, endpoint.chosen_by
        ),
        hint: hint(endpoint, &source),
        source: source.into(),
    };
    let docker = if endpoint.is_local() {
        Docker::connect_with_unix(&endpoint.host, TIMEOUT, API_DEFAULT_VERSION)
    } else if endpoint.host.starts_with("tcp://") || endpoint.host.starts_with("http://") {
        Docker::connect_with_http(&endpoint.host, TIMEOUT, API_DEFAULT_VERSION)
    } else {
        return Err(Error::Unreachable {
            engine: format!("the engine at {}", endpoint.host),
            hint: "use a unix:// or tcp:// address".to_owned(),
            source: "this kind of address is not supported".into(),
        });
    };
    // The first request is also the check that somebody answers.
    docker
        .map_err(unreachable)?
        .negotiate_version()
        .await
        .map_err(unreachable)
}

/// Whether Podman answers, also behind an address that was given as Docker's.
pub(crate) async fn is_podman(docker: &Docker) -> bool {
    let version = docker.version().await.unwrap_or_default();
    let mut components = version.components.into_iter().flatten();
    components.any(|component| component.name.starts_with("Podman"))
}

fn hint(endpoint: &Endpoint, error: &bollard::errors::Error) -> String {
    let text = error.to_string();
    if !endpoint.is_local() {
        return format!(
            "check that the engine at {} runs and can be reached",
            endpoint.host
        );
    }
    if text.to_lowercase().contains("permission denied") {
        return format!(
            "your user may not use {}: run as root, or join the group that owns it (`sudo usermod -aG docker $USER`, \
             then log in again)",
            endpoint.host
        );
    }
    match endpoint.engine {
        "podman" => "start its socket: `systemctl --user enable --now podman.socket`".to_owned(),
        _ => "install and start Docker Engine (`sudo systemctl start docker`), or name another engine with \
              DOCKER_HOST or --driver"
            .to_owned(),
    }
}
