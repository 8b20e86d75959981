//! Content negotiation: `Accept` and `Content-Type` -> an [`Encoding`] and a [`Shape`].
//! Upstream: `endpoints/handlers/negotiation`.

use http::HeaderMap;

use super::info::{query_value, truthy};

#[cfg(test)]
mod tests;

/// Media type of Kubernetes' protobuf envelope.
pub(crate) const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// How bytes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Encoding {
    Json,
    Yaml,
    Protobuf,
}

impl Encoding {
    /// `Content-Type` of a response that is no watch.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Encoding::Json => "application/json",
            Encoding::Yaml => "application/yaml",
            Encoding::Protobuf => PROTOBUF,
        }
    }
}

/// Which form of an object is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Shape {
    /// The object itself.
    Object,
    /// `meta.k8s.io/v1 Table`.
    Table,
    /// `meta.k8s.io/v1 PartialObjectMetadata` or its list.
    PartialMetadata,
}

/// The form a client asked for and that we serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Media {
    pub encoding: Encoding,
    pub shape: Shape,
    /// Indented JSON.
    pub pretty: bool,
}

impl Media {
    /// Compact JSON of the object itself.
    pub(crate) const JSON: Media = Media {
        encoding: Encoding::Json,
        shape: Shape::Object,
        pretty: false,
    };
}

/// The media types of an object request, for 406 and 415 messages.
pub(crate) const SUPPORTED: [&str; 3] = ["application/json", "application/yaml", PROTOBUF];
/// As [`SUPPORTED`], of custom resources.
pub(crate) const SUPPORTED_CUSTOM: [&str; 2] = ["application/json", "application/yaml"];

/// One clause of an `Accept` header.
#[derive(Debug, PartialEq)]
pub(crate) struct Clause {
    pub kind: String,
    pub params: Vec<(String, String)>,
    pub quality: f32,
}

/// Splits `Accept`, best first (stable for equal quality).
pub(crate) fn clauses(headers: &HeaderMap) -> Vec<Clause> {
    let text: Vec<&str> = headers
        .get_all(http::header::ACCEPT)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .collect();
    let mut out: Vec<Clause> = text
        .iter()
        .flat_map(|line| line.split(','))
        .filter_map(|part| {
            let mut pieces = part.split(';').map(str::trim);
            let kind = pieces.next()?.to_ascii_lowercase();
            if kind.is_empty() {
                return None;
            }
            let params: Vec<(String, String)> = pieces
                .filter_map(|p| p.split_once('='))
                .map(|(k, v)| {
                    (
                        k.trim().to_ascii_lowercase(),
                        v.trim().trim_matches('"').to_owned(),
                    )
                })
                .collect();
            let quality = params
                .iter()
                .find(|(k, _)| k == "q")
                .and_then(|(_, v)| v.parse().ok())
                .unwrap_or(1.0);
            Some(Clause {
                kind,
                params,
                quality,
            })
        })
        .collect();
    out.sort_by(|a, b| b.quality.total_cmp(&a.quality));
    out
}

/// What an object request asks for; `None` means 406. `table` says whether the
/// request may be answered with a Table or PartialObjectMetadata, `protobuf` whether the resource has
/// that form.
pub(crate) fn negotiate(headers: &HeaderMap, table: bool, pretty: bool, protobuf: bool) -> Option<Media> {
    let accepted = clauses(headers);
    if accepted.is_empty() {
        return Some(Media {
            pretty,
            ..Media::JSON
        });
    }
    accepted.iter().find_map(|clause| {
        let encoding = match clause.kind.as_str() {
            "application/json" | "*/*" | "application/*" => Encoding::Json,
            "application/yaml" => Encoding::Yaml,
            PROTOBUF if protobuf => Encoding::Protobuf,
            _ => return None,
        };
        let param = |key: &str| {
            clause
                .params
                .iter()
                .find(|(k, _)| k == key)
                .map(|(_, v)| v.as_str())
        };
        let shape = match param("as") {
            None => Shape::Object,
            Some(kind) => {
                let known = matches!(param("v"), Some("v1" | "v1beta1")) && param("g") == Some("meta.k8s.io");
                match kind {
                    "Table" if table && known && encoding != Encoding::Protobuf => Shape::Table,
                    "PartialObjectMetadata" | "PartialObjectMetadataList" if table && known => {
                        Shape::PartialMetadata
                    }
                    _ => return None,
                }
            }
        };
        Some(Media {
            encoding,
            shape,
            pretty,
        })
    })
}

/// What a failed request is told in: the first form that is asked for and exists, else JSON.
pub(crate) fn of_errors(headers: &HeaderMap) -> Media {
    let plain = |clause: &Clause| clause.params.iter().all(|(key, _)| key != "as");
    let encoding = clauses(headers).iter().find_map(|clause| {
        Some(match clause.kind.as_str() {
            "application/yaml" => Encoding::Yaml,
            PROTOBUF if plain(clause) => Encoding::Protobuf,
            PROTOBUF | "application/json" | "*/*" | "application/*" => Encoding::Json,
            _ => return None,
        })
    });
    Media {
        encoding: encoding.unwrap_or(Encoding::Json),
        ..Media::JSON
    }
}

/// Whether people read the answer: by `pretty`, or by their client's name.
pub(crate) fn pretty(headers: &HeaderMap, query: Option<&str>) -> bool {
    match query_value(query, "pretty") {
        Some(value) => truthy(&value),
        None => headers
            .get(http::header::USER_AGENT)
            .and_then(|v| v.to_str().ok())
            .is_some_and(|agent| {
                ["curl/", "Wget/", "Mozilla/5.0"]
                    .iter()
                    .any(|p| agent.starts_with(p))
            }),
    }
}

/// Encoding of a request body; `None` means 415. An absent header is JSON.
pub(crate) fn body_encoding(headers: &HeaderMap) -> Option<Encoding> {
    let Some(value) = headers.get(http::header::CONTENT_TYPE) else {
        return Some(Encoding::Json);
    };
    let text = value.to_str().ok()?;
    match text
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase()
        .as_str()
    {
        "" | "application/json" | "*/*" => Some(Encoding::Json),
        "application/yaml" | "application/x-yaml" | "text/yaml" => Some(Encoding::Yaml),
        PROTOBUF => Some(Encoding::Protobuf),
        _ => None,
    }
}
