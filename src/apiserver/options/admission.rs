use std::path::Path;

use clap::Args;
use serde::Deserialize;
use serde_json::Value;

use super::{file::text_of, name};
use crate::{config_file::Kind, machinery};

/// Which plugins look at writes.
#[derive(Args, Clone, Debug, Default, PartialEq)]
#[command(next_help_heading = "Admission")]
pub struct Admission {
    /// Admission plugins to leave out
    #[arg(long, value_name = "PLUGINS", value_delimiter = ',', value_parser = name)]
    pub disable_admission_plugins: Vec<String>,
    /// Admission plugins to run although they are left out: ServiceAccount is, where no controller makes
    /// service accounts
    #[arg(long, value_name = "PLUGINS", value_delimiter = ',', value_parser = name)]
    pub enable_admission_plugins: Vec<String>,
    /// File with the configuration of admission plugins (AdmissionConfiguration)
    #[arg(long, value_name = "FILE", value_parser = AdmissionControl::read)]
    pub admission_control_config_file: Option<AdmissionControl>,
}

/// What an `AdmissionConfiguration` says, with the texts of the files that it names.
/// <https://kubernetes.io/docs/reference/config-api/apiserver-config.v1/>
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AdmissionControl {
    /// By plugin; null for one without a configuration.
    plugins: Vec<(String, Value)>,
}

const KIND: Kind = Kind {
    name: "AdmissionConfiguration",
    group: "apiserver.config.k8s.io",
    versions: &["v1"],
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    plugins: Vec<Plugin>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Plugin {
    name: String,
    #[serde(default)]
    path: String,
    #[serde(default)]
    configuration: Value,
}

impl AdmissionControl {
    /// Reads the file, and those that it names: paths are relative to its folder.
    ///
    /// # Errors
    /// What cannot be read, and why.
    fn read(path: &str) -> Result<AdmissionControl, String> {
        let folder = Path::new(path).parent().unwrap_or(Path::new(""));
        let text = text_of(path).map_err(|error| error.to_string())?;
        Self::parse(&text, |named| {
            let path = folder.join(named);
            text_of(&path).map_err(|error| format!("{}: {error}", path.display()))
        })
    }

    /// `file` gives the text of a file that is named.
    pub(crate) fn parse(
        text: &str,
        file: impl Fn(&str) -> Result<String, String>,
    ) -> Result<AdmissionControl, String> {
        let read: File = KIND.read(text)?;
        let mut plugins = Vec::new();
        for plugin in read.plugins {
            let mut configuration = plugin.configuration;
            if configuration.is_null() && !plugin.path.is_empty() {
                configuration = machinery::yaml(&file(&plugin.path)?)
                    .map_err(|why| format!("plugin {}: {why}", plugin.name))?;
            }
            // The one configuration that names a further file.
            if let Some(named) = configuration["imagePolicy"]["kubeConfigFile"].as_str() {
                configuration["imagePolicy"]["kubeConfigFile"] = file(named)?.into();
            }
            plugins.push((plugin.name, configuration));
        }
        Ok(AdmissionControl { plugins })
    }

    /// Names and configurations, null for none.
    pub(crate) fn plugins(&self) -> impl Iterator<Item = (&str, &Value)> {
        let all = self.plugins.iter();
        all.map(|(name, configuration)| (name.as_str(), configuration))
    }

    /// The first configuration of a plugin.
    pub(crate) fn of(&self, plugin: &str) -> Option<&Value> {
        let mut all = self.plugins();
        all.find_map(|(name, configuration)| {
            (name == plugin && !configuration.is_null()).then_some(configuration)
        })
    }
}
