//! What a CNI runtime passes in.

use std::ffi::OsString;
use std::path::PathBuf;

use ipnet::IpNet;
use serde::Deserialize;

use super::failure::{Code, Failure};
use crate::leases::PortMapping;

/// The verb of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Attach a container.
    Add,
    /// Detach it.
    Del,
    /// Is it attached as it should be?
    Check,
    /// Which versions are spoken?
    Version,
    /// Drop attachments that aren't in the list given.
    Gc,
    /// Could ADD work now?
    Status,
}

impl Command {
    pub(super) fn from_env(env: impl Fn(&str) -> Option<OsString>) -> Result<Self, Failure> {
        let verb = variable(&env, "CNI_COMMAND")?;
        match verb.as_str() {
            "ADD" => Ok(Self::Add),
            "DEL" => Ok(Self::Del),
            "CHECK" => Ok(Self::Check),
            "VERSION" => Ok(Self::Version),
            "GC" => Ok(Self::Gc),
            "STATUS" => Ok(Self::Status),
            other => Err(environment("CNI_COMMAND", &format!("unknown verb {other:?}"))),
        }
    }
}

fn environment(name: &str, why: &str) -> Failure {
    Failure::new(
        Code::InvalidEnvironment,
        format!("environment variable {name}: {why}"),
        "",
    )
}

fn variable(env: impl Fn(&str) -> Option<OsString>, name: &str) -> Result<String, Failure> {
    match env(name).map(OsString::into_string) {
        Some(Ok(value)) if !value.is_empty() => Ok(value),
        Some(Err(_)) => Err(environment(name, "not UTF-8")),
        _ => Err(environment(name, "required, but not set")),
    }
}

/// The part of a call that comes by environment variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The verb.
    pub command: Command,
    /// `CNI_CONTAINERID`; empty for GC and STATUS.
    pub container: String,
    /// `CNI_IFNAME`; empty for GC and STATUS.
    pub interface: String,
    /// `CNI_NETNS`; may be missing for DEL.
    pub namespace: Option<PathBuf>,
}

impl Request {
    pub(super) fn from_env(
        env: impl Fn(&str) -> Option<OsString>,
        command: Command,
    ) -> Result<Self, Failure> {
        if matches!(command, Command::Gc | Command::Status | Command::Version) {
            return Ok(Self {
                command,
                container: String::new(),
                interface: String::new(),
                namespace: None,
            });
        }
        let container = variable(&env, "CNI_CONTAINERID")?;
        let first = container.chars().next();
        if !first.is_some_and(|c| c.is_ascii_alphanumeric())
            || !container
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
        {
            return Err(environment(
                "CNI_CONTAINERID",
                "must be letters, digits, '_', '.', '-', a letter or digit first",
            ));
        }
        let interface = variable(&env, "CNI_IFNAME")?;
        let bad = |c: char| c == '/' || c == ':' || c.is_whitespace();
        if interface.len() > 15 || interface == "." || interface == ".." || interface.contains(bad) {
            return Err(environment(
                "CNI_IFNAME",
                "not a valid interface name (at most 15 bytes, no '/', ':' or blank)",
            ));
        }
        let namespace = variable(&env, "CNI_NETNS").ok().map(PathBuf::from);
        if namespace.is_none() && command != Command::Del {
            return Err(environment("CNI_NETNS", "required, but not set"));
        }
        Ok(Self {
            command,
            container,
            interface,
            namespace,
        })
    }
}

/// Defaults of the configuration's optional fields.
fn default_data_dir() -> PathBuf {
    "/var/lib/cni/rkind".into()
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Runtime {
    port_mappings: Vec<PortMapping>,
}

/// An attachment that GC shall keep.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Attachment {
    /// The container.
    #[serde(rename = "containerID")]
    pub container: String,
    /// Its interface.
    #[serde(rename = "ifname")]
    pub interface: String,
}

/// The network configuration that comes on standard input, with what the
/// runtime put in.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Config {
    /// Version of the answer asked for.
    pub cni_version: String,
    /// The network's name.
    #[serde(default)]
    pub name: String,
    /// Which plugin is meant.
    #[serde(rename = "type")]
    pub kind: String,
    /// Addresses of this node's pods; required by `rkind-cni`.
    #[serde(rename = "podCIDR")]
    pub pod_cidr: Option<IpNet>,
    /// Largest packet of the pods' interfaces, bytes; 1500 unless given.
    pub mtu: Option<u32>,
    /// Where the leases are kept.
    #[serde(default = "default_data_dir")]
    pub data_dir: PathBuf,
    #[serde(default)]
    runtime_config: Runtime,
    /// What GC shall keep.
    #[serde(rename = "cni.dev/valid-attachments")]
    pub valid_attachments: Option<Vec<Attachment>>,
}

impl Config {
    pub(super) fn parse(input: &str) -> Result<Self, Failure> {
        let config: Self = serde_json::from_str(input).map_err(|e| {
            Failure::new(
                Code::Decode,
                "cannot read the network configuration",
                e.to_string(),
            )
        })?;
        if !super::SUPPORTED.contains(&config.cni_version.as_str()) {
            return Err(Failure::new(
                Code::IncompatibleVersion,
                format!("cniVersion {:?} isn't supported", config.cni_version),
                format!("supported: {}", super::SUPPORTED.join(", ")),
            ));
        }
        Ok(config)
    }

    /// The pods' range.
    pub fn pod_range(&self) -> Result<IpNet, Failure> {
        self.pod_cidr.ok_or_else(|| {
            Failure::new(
                Code::InvalidConfig,
                "podCIDR: required: the addresses of this node's pods",
                "",
            )
        })
    }

    /// Host ports asked for; those without a host port ask for nothing.
    pub fn port_mappings(&self) -> Vec<PortMapping> {
        self.runtime_config
            .port_mappings
            .iter()
            .filter(|m| m.host_port != 0)
            .cloned()
            .collect()
    }
}

/// `cniVersion` of a VERSION call's input.
pub(super) fn version_of(input: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(input).ok()?;
    value.get("cniVersion")?.as_str().map(str::to_owned)
}
