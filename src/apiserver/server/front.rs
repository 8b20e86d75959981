//! What is done to every response before anything else: origins, transport security. Off unless
//! configured. Upstream: `pkg/server/filters` (`cors.go`, `hsts.go`).

use axum::body::Body;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use regex::Regex;

use crate::options::Serving;

const METHODS: &str = "POST, GET, OPTIONS, PUT, DELETE, PATCH";
const HEADERS: &str = "Content-Type, Content-Length, Accept-Encoding, X-CSRF-Token, Authorization, X-Requested-With, If-Modified-Since";

/// Why the front cannot be set up as asked.
#[derive(Debug, thiserror::Error)]
#[error("--cors-allowed-origins has an invalid regular expression {pattern:?}")]
pub struct PatternError {
    pattern: String,
    #[source]
    source: regex::Error,
}

/// Headers for every response.
#[derive(Default)]
pub(crate) struct Front {
    origins: Vec<Regex>,
    hsts: Option<HeaderValue>,
    /// Share of HTTP/2 requests after which the client is told to connect anew.
    pub(super) goaway: f64,
}

impl Front {
    /// By options.
    ///
    /// # Errors
    /// When an origin is no regular expression.
    pub(crate) fn new(options: &Serving) -> Result<Self, PatternError> {
        let origins = options
            .cors_allowed_origins
            .iter()
            .map(|pattern| {
                Regex::new(pattern).map_err(|source| PatternError {
                    pattern: pattern.clone(),
                    source,
                })
            })
            .collect::<Result<_, _>>()?;
        let directives = options.strict_transport_security_directives.join("; ");
        Ok(Front {
            origins,
            hsts: (!directives.is_empty())
                .then(|| HeaderValue::from_str(&directives).ok())
                .flatten(),
            goaway: options.goaway_chance.clamp(0.0, 0.02),
        })
    }

    /// Whether requests have to come by here at all.
    pub(crate) fn is_idle(&self) -> bool {
        self.origins.is_empty() && self.hsts.is_none()
    }

    /// The answer to a browser that asks beforehand, if this is one; and the origin to allow.
    pub(crate) fn before(&self, request: &Request<Body>) -> (Option<Response<Body>>, Option<HeaderValue>) {
        let origin = request.headers().get(header::ORIGIN).cloned();
        let allowed = origin.filter(|origin| {
            let text = origin.to_str().unwrap_or_default();
            self.origins.iter().any(|pattern| pattern.is_match(text))
        });
        if allowed.is_some() && request.method() == Method::OPTIONS {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            return (Some(response), allowed);
        }
        (None, allowed)
    }

    /// Adds the headers to an answer.
    pub(crate) fn after(&self, headers: &mut HeaderMap, origin: Option<HeaderValue>) {
        if let Some(origin) = origin {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            for (name, value) in [
                (header::ACCESS_CONTROL_ALLOW_METHODS, METHODS),
                (header::ACCESS_CONTROL_ALLOW_HEADERS, HEADERS),
                (header::ACCESS_CONTROL_EXPOSE_HEADERS, "Date"),
                (header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true"),
            ] {
                headers.insert(name, HeaderValue::from_static(value));
            }
        }
        if let Some(hsts) = &self.hsts {
            headers.insert(header::STRICT_TRANSPORT_SECURITY, hsts.clone());
        }
    }
}
