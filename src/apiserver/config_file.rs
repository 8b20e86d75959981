//! Files that configure a stage: YAML or JSON with an `apiVersion` and a `kind`.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::machinery;

/// A kind of file, in the versions that are read.
pub(crate) struct Kind {
    pub name: &'static str,
    pub group: &'static str,
    pub versions: &'static [&'static str],
}

impl Kind {
    /// What a file of this kind says beside that it is one.
    ///
    /// # Errors
    /// Text that is no YAML, another kind or version, or fields that do not fit.
    pub(crate) fn read<T: DeserializeOwned>(&self, text: &str) -> Result<T, String> {
        self.of(machinery::yaml(text)?)
    }

    /// As [`Kind::read`], of a file's tree.
    ///
    /// # Errors
    /// Another kind or version, or fields that do not fit.
    pub(crate) fn of<T: DeserializeOwned>(&self, mut tree: Value) -> Result<T, String> {
        let versions = self
            .versions
            .iter()
            .map(|version| format!("{}/{version}", self.group));
        let versions: Vec<String> = versions.collect();
        let own = tree["apiVersion"].as_str().unwrap_or_default();
        if tree["kind"] != self.name || !versions.iter().any(|version| version == own) {
            return Err(format!("expected kind {} of {}", self.name, versions.join(", ")));
        }
        if let Some(fields) = tree.as_object_mut() {
            fields.remove("apiVersion");
            fields.remove("kind");
        }
        serde_json::from_value(tree).map_err(|e| e.to_string())
    }
}
