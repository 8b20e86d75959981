//! What can be wrong with a configuration.

/// Every error says which field and what to write instead.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text is no YAML, or a field has the wrong type or name. `message`
    /// has line and column.
    #[error("cannot read {kind}: {message}")]
    Parse { kind: &'static str, message: String },
    /// `apiVersion` and `kind` are of something else.
    #[error("this is a {found:?} document; expected {expected}")]
    WrongType { found: String, expected: String },
    /// A value cannot be written.
    #[error("cannot write {kind}: {message}")]
    Write { kind: &'static str, message: String },
    /// All fields that are wrong, at once.
    #[error("the cluster configuration is not valid: {}", Problem::join(.0))]
    Invalid(Vec<Problem>),
}

/// One wrong field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Path in the user's file or the flag: `nodes[1].role`, `--nodes`.
    pub field: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl Problem {
    /// `field` as the user wrote it.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Problem {
            field: field.into(),
            message: message.into(),
        }
    }

    fn join(problems: &[Problem]) -> String {
        problems
            .iter()
            .map(Problem::to_string)
            .collect::<Vec<_>>()
            .join("; ")
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}
