//! What upstream's router decides before a handler sees a request: media types and unknown paths.
//!
//! Upstream routes `/api`, `/version` and the resources of built-in groups by go-restful, whose
//! content negotiation is plainer than the API's own: no wildcards but `*/*`, parameters are ignored.

use axum::body::Body;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use rkind_apimachinery::status::{Details, Status};

use super::media::PROTOBUF;
use crate::{error::Result, registry::render};

/// What objects are written in.
pub(crate) const OBJECT: &[&str] = &["application/json", "application/yaml", PROTOBUF];
/// What lists and watches are written in.
pub(crate) const LIST: &[&str] = &[
    "application/json",
    "application/yaml",
    PROTOBUF,
    "application/json;stream=watch",
    "application/vnd.kubernetes.protobuf;stream=watch",
];
/// What logs are written in.
pub(crate) const LOG: &[&str] = &["text/plain", "application/json", "application/yaml", PROTOBUF];
/// What has no other form.
pub(crate) const JSON: &[&str] = &["application/json"];

/// Checks `Accept` against what a route produces.
///
/// # Errors
/// 406.
pub(crate) fn accepts(headers: &HeaderMap, produced: &[&str]) -> Result<()> {
    let accepted = text(headers, header::ACCEPT);
    if accepted.is_empty() || kinds(&accepted).any(|kind| kind == "*/*" || produced.contains(&kind)) {
        return Ok(());
    }
    let message = format!(
        "406: Not Acceptable\n\nAvailable representations: {}",
        produced.join(", ")
    );
    Err(refusal(406, "NotAcceptable", message))
}

/// Checks `Content-Type` against what a route consumes.
///
/// # Errors
/// 415.
pub(crate) fn consumes(headers: &HeaderMap, consumed: &[&str]) -> Result<()> {
    if kinds(&text(headers, header::CONTENT_TYPE)).any(|kind| kind == "*/*" || consumed.contains(&kind)) {
        return Ok(());
    }
    Err(refusal(
        415,
        "UnsupportedMediaType",
        "415: Unsupported Media Type".into(),
    ))
}

fn refusal(code: u16, reason: &str, message: String) -> Box<Status> {
    Status::failure(code, reason, message)
        .with_details(Details::default())
        .into()
}

/// Every value of a header as one list.
fn text(headers: &HeaderMap, name: header::HeaderName) -> String {
    let values = headers.get_all(name);
    let values: Vec<&str> = values.iter().filter_map(|v| v.to_str().ok()).collect();
    values.join(",")
}

fn kinds(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(|part| part.split(';').next().unwrap_or_default().trim())
}

/// The answer where nothing is served at all.
pub(crate) fn page_not_found() -> Response<Body> {
    let mut response = render::respond(
        StatusCode::NOT_FOUND,
        "text/plain; charset=utf-8",
        "404 page not found\n".into(),
        &HeaderMap::new(),
    );
    no_sniff(&mut response);
    response
}

/// The answer to a request for which there is no place now. Upstream: `filters.tooManyRequests`.
pub(crate) fn too_many_requests() -> Response<Body> {
    let mut response = render::respond(
        StatusCode::TOO_MANY_REQUESTS,
        "text/plain; charset=utf-8",
        "Too many requests, please try again later.\n".into(),
        &HeaderMap::new(),
    );
    let second = HeaderValue::from_static("1");
    response.headers_mut().insert(header::RETRY_AFTER, second);
    no_sniff(&mut response);
    response
}

/// Marks text that no browser should take for anything else.
pub(crate) fn no_sniff(response: &mut Response<Body>) {
    response.headers_mut().insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn accept_knows_no_wildcard_but_all() {
        for (accept, fits) in [
            ("", true),
            ("*/*", true),
            ("text/html, */*;q=0.8", true),
            ("application/json;as=Table;v=v1;g=meta.k8s.io", true),
            ("application/yaml", true),
            ("application/*", false),
            ("text/html", false),
            ("application/cbor", false),
        ] {
            let answer = accepts(&headers(header::ACCEPT, accept), OBJECT);
            assert_eq!(answer.is_ok(), fits, "{accept}");
        }
        let refused = accepts(&headers(header::ACCEPT, "text/html"), JSON).unwrap_err();
        assert_eq!(
            refused.message,
            "406: Not Acceptable\n\nAvailable representations: application/json"
        );
    }

    #[test]
    fn a_patch_says_what_it_is() {
        for (kind, fits) in [
            ("application/merge-patch+json; charset=utf-8", true),
            ("application/json", false),
            ("", false),
        ] {
            let answer = consumes(
                &headers(header::CONTENT_TYPE, kind),
                &["application/merge-patch+json"],
            );
            assert_eq!(answer.is_ok(), fits, "{kind}");
        }
        assert_eq!(consumes(&HeaderMap::new(), JSON).unwrap_err().code, 415);
    }
}
