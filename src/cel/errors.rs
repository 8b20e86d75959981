//! What is wrong with a source text, in the form of upstream's CEL.

use std::fmt;

/// One fault and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// Characters from the beginning of the source.
    pub at: u32,
    /// What is wrong, without place.
    pub message: String,
}

/// Why a source is no program. Prints every fault as upstream does, with the line it is on:
///
/// ```text
/// ERROR: <input>:1:1: undeclared reference to 'x' (in container '')
///  | x
///  | ^
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompileErrors {
    pub(crate) source: String,
    /// The faults, first to last.
    pub issues: Vec<Issue>,
}

impl std::error::Error for CompileErrors {}

impl fmt::Display for CompileErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, issue) in self.issues.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            let (line, column, text) = place(&self.source, issue.at);
            write!(
                f,
                "ERROR: <input>:{line}:{}: {}\n | {text}\n | {}^",
                column + 1,
                issue.message,
                ".".repeat(column)
            )?;
        }
        Ok(())
    }
}

/// Line from 1, column from 0, and the line's text.
fn place(source: &str, at: u32) -> (usize, usize, String) {
    let mut rest = at as usize;
    let mut number = 1;
    let mut last = "";
    for line in source.split('\n') {
        let length = line.chars().count();
        if rest <= length {
            return (number, rest, line.replace('\t', " "));
        }
        rest -= length + 1;
        number += 1;
        last = line;
    }
    (number - 1, last.chars().count(), last.replace('\t', " "))
}

/// Why a program gave no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// The expression failed; upstream's words.
    #[error("{0}")]
    Failed(String),
    /// This one run cost more than [`crate::PER_CALL_LIMIT`].
    #[error("operation cancelled: actual cost limit exceeded")]
    CallLimit,
    /// The caller's budget is spent.
    #[error("validation failed due to running out of cost budget, no further validation rules will be run")]
    Budget,
}

impl RunError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        RunError::Failed(message.into())
    }
}

impl From<String> for RunError {
    fn from(message: String) -> Self {
        RunError::Failed(message)
    }
}
