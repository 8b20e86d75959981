//! Client certificate -> user: CN is the name, each O a group.
//! Upstream: `authentication/request/x509`, `CommonNameUserConversion`.

use x509_parser::prelude::*;

use crate::user::UserInfo;

/// User of a certificate that the TLS layer has verified. `None` without a common name.
pub(crate) fn user(der: &[u8]) -> Option<UserInfo> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
    if name.is_empty() {
        return None;
    }
    let groups = subject
        .iter_organization()
        .filter_map(|o| o.as_str().ok())
        .map(str::to_owned)
        .collect();
    Some(UserInfo {
        name,
        groups,
        ..Default::default()
    })
}
