use std::{
    ops::Deref,
    path::{Path, PathBuf},
};

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
    pub fn read(path: &str) -> std::io::Result<FileText> {
        Ok(FileText {
            text: std::fs::read_to_string(path)?,
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
