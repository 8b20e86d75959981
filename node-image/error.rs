//! What can go wrong while making an image.

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot {doing}")]
    Io { doing: String, source: std::io::Error },
    /// A program is needed that this host has not.
    #[error("{program} is not installed")]
    NoProgram {
        program: &'static str,
        hint: &'static str,
    },
    /// `output` is the end of what it printed.
    #[error("{program} failed ({status}): {output}")]
    Program {
        program: String,
        status: std::process::ExitStatus,
        output: String,
    },
    #[error("the packages lack {0}")]
    Incomplete(&'static str),
    #[error("cannot unpack the images inside the node image")]
    Unpack { source: rkind_driver::Error },
    #[error("cannot load the image {reference} into the engine")]
    Load {
        reference: String,
        source: rkind_driver::Error,
    },
}

impl Error {
    pub(crate) fn io(doing: impl Into<String>, source: std::io::Error) -> Self {
        Error::Io {
            doing: doing.into(),
            source,
        }
    }

    /// What the user can do about it, if anything.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::NoProgram { hint, .. } => Some((*hint).to_owned()),
            Error::Load { source, .. } | Error::Unpack { source } => source.hint(),
            _ => None,
        }
    }
}
