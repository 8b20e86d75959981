//! Files for nodes.

use std::path::PathBuf;

use bytes::Bytes;

/// A file that a node shall have.
#[derive(Clone, Debug)]
pub struct File {
    /// Absolute, in the node.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    pub content: Content,
}

/// Where a file's bytes come from.
#[derive(Clone, Debug)]
pub enum Content {
    Bytes(Bytes),
    /// A file of this machine, read when it is needed.
    Path(PathBuf),
}

impl File {
    /// A small file.
    pub fn new(path: impl Into<String>, mode: u32, content: impl Into<Bytes>) -> Self {
        File {
            path: path.into(),
            mode,
            content: Content::Bytes(content.into()),
        }
    }

    /// A copy of a file of this machine.
    pub fn copy(path: impl Into<String>, mode: u32, from: impl Into<PathBuf>) -> Self {
        File {
            path: path.into(),
            mode,
            content: Content::Path(from.into()),
        }
    }
}
