//! What stages have to say about a request beside its answer: warnings for the client, annotations
//! for the audit log.

use parking_lot::Mutex;

/// Most warnings that one answer carries, and their size in bytes together; upstream's
/// `k8s.io/apiserver/pkg/endpoints/filters/warning.go`.
const MAX_BYTES: usize = 4 * 1024;
/// A warning longer than this is cut once there are many.
const CUT: usize = 256;

/// Collected during one request.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    warnings: Mutex<Vec<String>>,
    annotations: Mutex<Vec<(String, String)>>,
}

impl Notes {
    /// Tells the client something; the same text is told once.
    pub(crate) fn warn(&self, text: impl Into<String>) {
        let text = text.into();
        let mut warnings = self.warnings.lock();
        if !text.is_empty() && !warnings.contains(&text) {
            warnings.push(text);
        }
    }

    /// Notes something in the audit event; the first value of a key stays.
    pub(crate) fn annotate(&self, key: impl Into<String>, value: impl Into<String>) {
        let key = key.into();
        let mut annotations = self.annotations.lock();
        if annotations.iter().all(|(known, _)| *known != key) {
            annotations.push((key, value.into()));
        }
    }

    /// The warnings to send, within the limits of a header.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let all = self.warnings.lock();
        let total: usize = all.iter().map(String::len).sum();
        if total <= MAX_BYTES {
            return all.clone();
        }
        let mut left = MAX_BYTES;
        let mut out = Vec::new();
        for text in all.iter() {
            let end = text.floor_char_boundary(CUT.min(text.len()));
            if end > left {
                break;
            }
            left -= end;
            out.push(text[..end].to_owned());
        }
        out
    }

    /// The annotations so far, sorted by key.
    pub(crate) fn annotations(&self) -> Vec<(String, String)> {
        let mut all = self.annotations.lock().clone();
        all.sort();
        all
    }
}
