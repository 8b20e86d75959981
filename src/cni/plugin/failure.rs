//! Errors as CNI runtimes read them.

use std::error::Error as _;
use std::fmt;

use serde_json::json;

/// Error codes of the CNI specification; from 100 on they are the plugin's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// The configuration's version isn't spoken here.
    IncompatibleVersion,
    /// A field of the configuration isn't supported.
    UnsupportedField,
    /// The container or its namespace isn't there.
    UnknownContainer,
    /// An environment variable is missing or wrong.
    InvalidEnvironment,
    /// Reading or writing failed.
    Io,
    /// The input isn't what it should be.
    Decode,
    /// The configuration is wrong.
    InvalidConfig,
    /// Try again later.
    TryAgain,
    /// The plugin isn't ready to take ADD calls (STATUS).
    NotAvailable,
    /// The kernel refused.
    Kernel,
    /// No address is free.
    NoAddress,
    /// CHECK found something else than ADD made.
    Mismatch,
}

impl Code {
    fn number(self) -> u32 {
        match self {
            Self::IncompatibleVersion => 1,
            Self::UnsupportedField => 2,
            Self::UnknownContainer => 3,
            Self::InvalidEnvironment => 4,
            Self::Io => 5,
            Self::Decode => 6,
            Self::InvalidConfig => 7,
            Self::TryAgain => 11,
            Self::NotAvailable => 50,
            Self::Kernel => 100,
            Self::NoAddress => 101,
            Self::Mismatch => 102,
        }
    }
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// For programs.
    pub code: Code,
    /// One line.
    pub message: String,
    /// More, for the log; may be empty.
    pub details: String,
}

impl Failure {
    /// From its parts.
    pub fn new(code: Code, message: impl Into<String>, details: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            details: details.into(),
        }
    }

    /// As the specification prints it.
    pub fn to_json(&self, version: &str) -> String {
        let mut body = json!({"cniVersion": version, "code": self.code.number(), "msg": self.message});
        if !self.details.is_empty() {
            body["details"] = self.details.clone().into();
        }
        body.to_string()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if !self.details.is_empty() {
            write!(f, ": {}", self.details)?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

impl From<rkind_sys::Error> for Failure {
    fn from(error: rkind_sys::Error) -> Self {
        let details = error.source().map(ToString::to_string).unwrap_or_default();
        Self::new(Code::Kernel, error.to_string(), details)
    }
}
