//! Which kubeconfig files there are, in kubectl's order.

use std::ffi::OsStr;
use std::path::PathBuf;

use crate::Error;

/// The files that together are the user's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locations {
    files: Vec<PathBuf>,
}

impl Locations {
    /// One file, as with `--kubeconfig`.
    pub fn explicit(file: impl Into<PathBuf>) -> Self {
        Locations {
            files: vec![file.into()],
        }
    }

    /// `$KUBECONFIG` (a list), else `~/.kube/config`.
    ///
    /// # Errors
    /// [`Error::NoHome`]
    pub fn from_env() -> Result<Self, Error> {
        Self::from(std::env::var_os("KUBECONFIG").as_deref(), dirs::home_dir())
    }

    pub(crate) fn from(variable: Option<&OsStr>, home: Option<PathBuf>) -> Result<Self, Error> {
        let mut files: Vec<PathBuf> = Vec::new();
        for path in variable.map(std::env::split_paths).into_iter().flatten() {
            if !path.as_os_str().is_empty() && !files.contains(&path) {
                files.push(path);
            }
        }
        if files.is_empty() {
            files.push(home.ok_or(Error::NoHome)?.join(".kube").join("config"));
        }
        Ok(Locations { files })
    }

    pub(crate) fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Where new entries go: the first file that exists, else the last.
    pub fn default_file(&self) -> PathBuf {
        let existing = self.files.iter().find(|f| f.exists());
        existing.or(self.files.last()).cloned().unwrap_or_default()
    }
}
