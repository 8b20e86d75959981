//! Stage between authentication and authorization: acting as somebody else, where allowed.
//! Upstream: `endpoints/filters/impersonation`.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue};
use rkind_apimachinery::status::Status;

use crate::{
    authz::Attributes,
    core::Core,
    error::Result,
    user::{ANONYMOUS, AUTHENTICATED, UNAUTHENTICATED, UserInfo},
};

const EXTRA: &str = "impersonate-extra-";

/// Takes away the headers by which a request said who it is: they were for this server, and whoever it is
/// handed on to must not read them again. Upstream: the filters for impersonation and request headers.
pub(crate) fn clear(headers: &mut HeaderMap) {
    let ours = |name: &str| name.starts_with("impersonate-") || name.starts_with("x-remote-");
    let names: Vec<HeaderName> = headers
        .keys()
        .filter(|name| ours(name.as_str()))
        .cloned()
        .collect();
    for name in names {
        headers.remove(name);
    }
}

/// The user that a request runs as; `None` when that is who asks.
///
/// # Errors
/// 400 for a header that is no text and for groups without a user, 403 when not allowed.
pub(crate) async fn impersonate(
    core: &Core,
    user: &UserInfo,
    headers: &HeaderMap,
) -> Result<Option<UserInfo>> {
    if !headers
        .keys()
        .any(|name| name.as_str().starts_with("impersonate-"))
    {
        return Ok(None);
    }
    let values = |name: &str| -> Result<Vec<String>> {
        let values = headers.get_all(name).iter().map(|value| text(name, value));
        values.collect()
    };
    let first = |name: &str| Ok::<_, Box<Status>>(values(name)?.into_iter().next().unwrap_or_default());
    let name = first("impersonate-user")?;
    let groups = values("impersonate-group")?;
    let uid = first("impersonate-uid")?;
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (header, value) in headers {
        if let Some(key) = header.as_str().strip_prefix(EXTRA) {
            let value = text(header.as_str(), value)?;
            let key = percent_encoding::percent_decode_str(key)
                .decode_utf8_lossy()
                .to_lowercase();
            extra.entry(key).or_default().push(value);
        }
    }
    if name.is_empty() {
        if groups.is_empty() && extra.is_empty() && uid.is_empty() {
            return Ok(None);
        }
        return Err(without_user(&groups, &extra, &uid));
    }
    let may = async |group: &str, resource: &str, subresource: &str, namespace: &str, name: &str| {
        let wanted = Attributes {
            verb: "impersonate".into(),
            group: group.into(),
            version: "v1".into(),
            resource: resource.into(),
            subresource: subresource.into(),
            namespace: namespace.into(),
            name: name.into(),
            path: String::new(),
            is_resource: true,
            ..Default::default()
        };
        core.authorizer.check(user, &wanted).await
    };
    let mut target = UserInfo {
        name: name.clone(),
        groups: groups.clone(),
        ..Default::default()
    };
    match target.service_account() {
        Some((namespace, account)) => {
            may("", "serviceaccounts", "", namespace, account).await?;
            if groups.is_empty() {
                target.groups = vec![
                    "system:serviceaccounts".into(),
                    format!("system:serviceaccounts:{namespace}"),
                ];
            }
        }
        None => may("", "users", "", "", &name).await?,
    }
    for group in &groups {
        may("", "groups", "", "", group).await?;
    }
    for (key, list) in &extra {
        for value in list {
            may("authentication.k8s.io", "userextras", key, "", value).await?;
        }
    }
    if !uid.is_empty() {
        may("authentication.k8s.io", "uids", "", "", &uid).await?;
    }
    target.extra = extra;
    target.uid = uid;
    if name == ANONYMOUS {
        if !target.in_group(UNAUTHENTICATED) {
            target.groups.push(UNAUTHENTICATED.into());
        }
    } else if !target.in_group(AUTHENTICATED) && !target.in_group(UNAUTHENTICATED) {
        target.groups.push(AUTHENTICATED.into());
    }
    Ok(Some(target))
}

/// What is asked for without a user to become, as upstream prints its references: kind, namespace, name,
/// uid, version, resource version, field path.
fn without_user(groups: &[String], extra: &BTreeMap<String, Vec<String>>, uid: &str) -> Box<Status> {
    const VERSION: &str = "authentication.k8s.io/v1";
    let mut asked: Vec<String> = groups
        .iter()
        .map(|group| format!("{{Group  {group}    }}"))
        .collect();
    for (key, values) in extra {
        asked.extend(
            values
                .iter()
                .map(|value| format!("{{UserExtra  {value}  {VERSION}  {key}}}")),
        );
    }
    if !uid.is_empty() {
        asked.push(format!("{{UID  {uid}  {VERSION}  }}"));
    }
    let asked = asked.join(" ");
    Status::bad_request(format!("requested [{asked}] without impersonating a user")).into()
}

/// A header's value. One that cannot be read is not the same as none: whoever sent it would act as
/// somebody else than they said.
fn text(name: &str, value: &HeaderValue) -> Result<String> {
    let value = std::str::from_utf8(value.as_bytes())
        .map_err(|_| Status::bad_request(format!("header {name}: value is not valid UTF-8")))?;
    Ok(value.to_owned())
}
