use std::{
    io,
    ops::Deref,
    path::{Path, PathBuf},
};

/// Why a file is not read, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{why}; {}", next(.why))]
pub struct Unreadable {
    why: io::Error,
}

fn next(why: &io::Error) -> &'static str {
    match why.kind() {
        io::ErrorKind::NotFound => "name a file that is there, relative paths begin in the working directory",
        io::ErrorKind::PermissionDenied => "let the user who runs this read it",
        io::ErrorKind::InvalidData => "name a file of text in UTF-8",
        _ => "name a file that can be read",
    }
}

/// The text of a file.
///
/// # Errors
/// Why it cannot be read, or that it is no text.
pub(super) fn text_of(path: impl AsRef<Path>) -> Result<String, Unreadable> {
    std::fs::read_to_string(path).map_err(|why| Unreadable { why })
}

/// The text of a file that a flag names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileText {
    text: String,
    path: PathBuf,
}

impl FileText {
    /// Reads a file.
    ///
    /// # Errors
    /// Why it cannot be read, or that it is no text.
    pub fn read(path: &str) -> Result<FileText, Unreadable> {
        Ok(FileText {
            text: text_of(path)?,
            path: path.into(),
        })
    }

    /// Where it was read from; empty for a text that is no file's.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Deref for FileText {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

impl<T: Into<String>> From<T> for FileText {
    fn from(text: T) -> Self {
        FileText {
            text: text.into(),
            path: PathBuf::new(),
        }
    }
}
