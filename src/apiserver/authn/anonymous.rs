//! Requests without credentials (KEP-4633: only at configured paths).

/// Where nobody may ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Anonymous {
    enabled: bool,
    /// Paths, exactly; empty: every path.
    paths: Vec<String>,
}

impl Anonymous {
    /// Everywhere or nowhere.
    pub(super) fn all(enabled: bool) -> Self {
        Anonymous {
            enabled,
            paths: Vec::new(),
        }
    }

    /// At these paths only.
    pub(super) fn at(enabled: bool, paths: Vec<String>) -> Self {
        Anonymous { enabled, paths }
    }

    /// Whether a request for `path` may come without credentials.
    pub(super) fn admits(&self, path: &str) -> bool {
        self.enabled && (self.paths.is_empty() || self.paths.iter().any(|p| p == path))
    }
}
