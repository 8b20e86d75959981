//! Flags as names and values: what a cluster's extra configuration holds of them.

use clap::{
    Args as _, Command, FromArgMatches as _, error::ContextKind, error::ContextValue, error::ErrorKind,
};

use super::Features;
use crate::apis;

/// A flag that cannot be set so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("--{flag}: {why}")]
pub struct Misuse {
    /// Without dashes.
    pub flag: String,
    pub why: String,
}

/// What files are called among the values.
const FILES: [&str; 2] = ["FILE", "CERTIFICATE,KEY[:NAMES]"];

fn command() -> Command {
    Features::augment_args(Command::new("apiserver").no_binary_name(true))
}

fn typed(flag: &str, value: &str) -> String {
    format!("--{flag}={value}")
}

/// What is wrong, in one line.
fn why(error: &clap::Error) -> String {
    let told = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => Some(texts.join(", ")),
        _ => None,
    };
    match error.kind() {
        ErrorKind::UnknownArgument => "is no flag of the API server".to_owned(),
        ErrorKind::InvalidValue => match told(ContextKind::ValidValue) {
            Some(possible) => format!(
                "invalid value {:?}; possible: {possible}",
                told(ContextKind::InvalidValue).unwrap_or_default()
            ),
            None => "has no value".to_owned(),
        },
        ErrorKind::ValueValidation => {
            let value = told(ContextKind::InvalidValue).unwrap_or_default();
            match std::error::Error::source(error) {
                Some(cause) => format!("invalid value {value:?}: {cause}"),
                None => format!("invalid value {value:?}"),
            }
        }
        _ => {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            line.strip_prefix("error: ").unwrap_or(line).to_owned()
        }
    }
}

impl Features {
    /// Of flags (without dashes) and their values; later ones win. Files are read.
    ///
    /// # Errors
    /// The first flag that is unknown, has no such value, or whose file cannot be read.
    pub fn given<'a>(flags: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Features, Misuse> {
        let flags: Vec<(&str, &str)> = flags.into_iter().collect();
        let command = command().args_override_self(true);
        let parse = |flags: &[(&str, &str)]| {
            let typed = flags.iter().map(|(flag, value)| typed(flag, value));
            let mut matches = command.clone().try_get_matches_from(typed)?;
            Features::from_arg_matches_mut(&mut matches)
        };
        parse(&flags).map_err(|all| {
            // Which of them it was, says the one that cannot stand alone either.
            let alone = flags.iter().find_map(|one| Some((one.0, parse(&[*one]).err()?)));
            let (flag, error) = alone.unwrap_or((flags.first().map_or("", |f| f.0), all));
            Misuse {
                flag: flag.to_owned(),
                why: why(&error),
            }
        })
    }

    /// Whether [`Features::given`] could be right on the machine that has the files: they are not
    /// looked for.
    ///
    /// # Errors
    /// Every flag that is unknown or has no such value.
    pub fn check<'a>(flags: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<(), Vec<Misuse>> {
        let command = command();
        let is_file = |flag: &str| {
            let mut all = command.get_arguments();
            let known = all.find(|arg| arg.get_long() == Some(flag));
            let names = known.and_then(|arg| arg.get_value_names()).unwrap_or_default();
            names
                .first()
                .is_some_and(|name| FILES.iter().any(|file| name == *file))
        };
        let mut wrong = Vec::new();
        for (flag, value) in flags {
            if is_file(flag) {
                if !value.starts_with('/') {
                    wrong.push(Misuse {
                        flag: flag.to_owned(),
                        why: format!("{value:?} is no absolute path in the node"),
                    });
                }
                continue;
            }
            match Features::given([(flag, value)]) {
                Ok(read) => wrong.extend(apis::Enabled::new(&read.runtime_config).err().map(|why| Misuse {
                    flag: flag.to_owned(),
                    why: why.to_string(),
                })),
                Err(misuse) => wrong.push(misuse),
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }
}
