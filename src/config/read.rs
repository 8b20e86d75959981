//! Text of a cluster file -> the versioned form, whichever file it is.

use serde::Deserialize;

use crate::{Error, kind, v1alpha1};

/// A file's content, and what its user should know.
#[derive(Debug)]
pub struct Loaded {
    pub cluster: v1alpha1::Cluster,
    /// Fields that were read and have no effect.
    pub warnings: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TypeMeta {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
}

const ANY: &str = "cluster file";

/// Reads a cluster file: `rkind.dev/v1alpha1` or `kind.x-k8s.io/v1alpha4`, kind
/// `Cluster`. Unknown fields and duplicate keys are errors.
///
/// # Errors
/// [`Error::Parse`] with line and column, [`Error::WrongType`].
pub fn read(text: &str) -> Result<Loaded, Error> {
    let meta: TypeMeta = parse(ANY, text)?;
    let wrong_type = || Error::WrongType {
        found: format!("{} {}", meta.api_version, meta.kind).trim().to_owned(),
        expected: format!(
            "{} Cluster or {} Cluster",
            v1alpha1::API_VERSION,
            kind::API_VERSION
        ),
    };
    if meta.kind != v1alpha1::KIND {
        return Err(wrong_type());
    }
    match meta.api_version.as_str() {
        v1alpha1::API_VERSION => Ok(Loaded {
            cluster: parse(v1alpha1::API_VERSION, text)?,
            warnings: Vec::new(),
        }),
        kind::API_VERSION => {
            let (cluster, ignored) = kind::convert(parse(kind::API_VERSION, text)?);
            let warnings = if ignored.is_empty() {
                Vec::new()
            } else {
                vec![format!(
                    "these fields of kind's file have no effect here: {}",
                    ignored.join(", ")
                )]
            };
            Ok(Loaded { cluster, warnings })
        }
        _ => Err(wrong_type()),
    }
}

fn parse<'de, T: Deserialize<'de>>(what: &'static str, text: &'de str) -> Result<T, Error> {
    serde_saphyr::from_str(text).map_err(|e| {
        // The first line says what is wrong and where; a picture of the source follows.
        Error::Parse {
            kind: what,
            message: e.without_snippet().to_string(),
        }
    })
}
