//! Options of logs and port-forwards, read and refused in upstream's words.
//! Upstream: the conversions from `url.Values` of `core/v1`, `validation.ValidatePodLogOptions`.

use rkind_apimachinery::{
    codec,
    field::{Error, ErrorList, Path},
    status::Status,
};

use crate::{error::Result, request::info::truthy};

/// What a log request asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Logs {
    /// Empty: the only one.
    pub container: String,
    /// What the kubelet is asked, by name: `tailLines=5&timestamps=true`.
    pub query: String,
}

/// Reads the options of pods/log for the pod `name`; of an option that stands twice the first counts.
///
/// # Errors
/// 400 for what cannot be read, 422 for what may not be asked.
pub(super) fn logs(name: &str, pairs: &[(String, String)]) -> Result<Logs> {
    let value = |key: &str| {
        let found = pairs.iter().find(|(known, _)| known == key);
        found.map(|(_, value)| value.as_str())
    };
    let number = |key: &str| value(key).map(integer).transpose().map_err(unreadable);
    let since_seconds = number("sinceSeconds")?;
    let since_time = match value("sinceTime").filter(|text| !matches!(*text, "" | "null")) {
        Some(text) => codec::time(text).map_err(unreadable)?,
        None => None,
    };
    let (tail, bytes) = (number("tailLines")?, number("limitBytes")?);

    let mut errors = ErrorList::new();
    if let Some(lines) = tail.filter(|lines| *lines < 0) {
        let detail = "must be greater than or equal to 0";
        errors.push(Error::invalid(&Path::new("tailLines"), lines, detail));
    }
    let mut positive = |key: &str, number: Option<i64>| {
        if let Some(number) = number.filter(|number| *number < 1) {
            errors.push(Error::invalid(&Path::new(key), number, "must be greater than 0"));
        }
    };
    positive("limitBytes", bytes);
    if since_seconds.is_some() && since_time.is_some() {
        let detail = "at most one of `sinceTime` or `sinceSeconds` may be specified";
        errors.push(Error::forbidden(&Path::new("[]"), detail));
    } else {
        positive("sinceSeconds", since_seconds);
    }
    if value("stream").is_some_and(|stream| !stream.is_empty()) {
        errors.push(Error::forbidden(&Path::new("stream"), "may not be specified"));
    }
    if !errors.is_empty() {
        return Err(Status::invalid("", "PodLogOptions", name, &errors).into());
    }

    let flag = |key: &str| value(key).is_some_and(truthy).then(|| "true".to_owned());
    let asked = [
        ("follow", flag("follow")),
        ("limitBytes", bytes.map(|number| number.to_string())),
        ("previous", flag("previous")),
        ("sinceSeconds", since_seconds.map(|number| number.to_string())),
        ("sinceTime", since_time.map(|time| super::encode(&time))),
        ("tailLines", tail.map(|number| number.to_string())),
        ("timestamps", flag("timestamps")),
    ];
    let asked = asked
        .into_iter()
        .filter_map(|(key, value)| Some(format!("{key}={}", value?)));
    Ok(Logs {
        container: value("container").unwrap_or_default().to_owned(),
        query: asked.collect::<Vec<_>>().join("&"),
    })
}

/// The ports of pods/portforward, as they were given.
///
/// # Errors
/// 400 for what is no number of a port.
pub(super) fn ports(pairs: &[(String, String)]) -> Result<Vec<&str>> {
    let given = pairs.iter().filter(|(key, _)| key == "ports");
    given
        .map(|(_, port)| match port.parse::<u16>() {
            Ok(_) => Ok(port.as_str()),
            Err(error) => {
                let why = go_error("ParseUint", port, error.kind());
                Err(unreadable(format!("cannot convert to []int32: {why}")))
            }
        })
        .collect()
}

fn unreadable(why: String) -> Box<Status> {
    Status::bad_request(why).into()
}

fn integer(text: &str) -> Result<i64, String> {
    text.parse::<i64>()
        .map_err(|error| go_error("ParseInt", text, error.kind()))
}

/// What Go's `strconv` says.
fn go_error(function: &str, text: &str, kind: &std::num::IntErrorKind) -> String {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    let why = match kind {
        PosOverflow | NegOverflow => "value out of range",
        _ => "invalid syntax",
    };
    format!("strconv.{function}: parsing {text:?}: {why}")
}

#[cfg(test)]
mod tests;
