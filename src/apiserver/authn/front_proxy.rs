//! A trusted proxy says by headers who asks. Upstream: `authentication/request/headerrequest`.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue};
use rustls::server::danger::ClientCertVerifier;

use super::x509::Shown;
use crate::{options::RequestHeader, user::UserInfo};

/// Which proxies are believed, and the headers they set. Header names are lower-case.
pub(crate) struct FrontProxy {
    authority: Arc<dyn ClientCertVerifier>,
    allowed: Vec<String>,
    name: Vec<String>,
    uid: Vec<String>,
    groups: Vec<String>,
    extra: Vec<String>,
}

impl FrontProxy {
    pub(super) fn new(authority: Arc<dyn ClientCertVerifier>, options: &RequestHeader) -> Self {
        let lower = |names: &[String]| names.iter().map(|n| n.to_ascii_lowercase()).collect();
        FrontProxy {
            authority,
            allowed: options.requestheader_allowed_names.clone(),
            name: lower(&options.requestheader_username_headers),
            uid: lower(&options.requestheader_uid_headers),
            groups: lower(&options.requestheader_group_headers),
            extra: lower(&options.requestheader_extra_headers_prefix),
        }
    }

    /// Verifies proxies' certificates.
    pub(super) fn authority(&self) -> &dyn ClientCertVerifier {
        &*self.authority
    }

    /// The user that the headers name; `None` when the certificate is no proxy's or names nobody.
    ///
    /// # Errors
    /// When the certificate is of the right authority but its name is not allowed, or a header is no
    /// text: without it the user would be another one.
    pub(super) fn user(&self, shown: &Shown, headers: &HeaderMap) -> Result<Option<UserInfo>, String> {
        let Some(proxy) = shown.proxy() else {
            return Ok(None);
        };
        if !self.allowed.is_empty() && !self.allowed.iter().any(|a| a == proxy) {
            return Err(format!(
                "x509: subject with cn={proxy} is not in the allowed list"
            ));
        }
        let first = |names: &[String]| -> Result<Option<String>, String> {
            for name in names {
                let value = headers.get(name).map_or(Ok(""), |value| text(name, value))?;
                if !value.is_empty() {
                    return Ok(Some(value.to_owned()));
                }
            }
            Ok(None)
        };
        let Some(name) = first(&self.name)? else {
            return Ok(None);
        };
        let mut user = UserInfo {
            name,
            uid: first(&self.uid)?.unwrap_or_default(),
            ..Default::default()
        };
        for name in &self.groups {
            for value in headers.get_all(name) {
                user.groups.push(text(name, value)?.to_owned());
            }
        }
        for (header, value) in headers {
            let Some(key) = self
                .extra
                .iter()
                .find_map(|p| header.as_str().strip_prefix(p.as_str()))
            else {
                continue;
            };
            let value = text(header.as_str(), value)?;
            let key = percent_encoding::percent_decode_str(key)
                .decode_utf8_lossy()
                .to_lowercase();
            user.extra.entry(key).or_default().push(value.to_owned());
        }
        Ok(Some(user))
    }
}

fn text<'a>(name: &str, value: &'a HeaderValue) -> Result<&'a str, String> {
    std::str::from_utf8(value.as_bytes()).map_err(|_| format!("header {name}: value is not valid UTF-8"))
}
