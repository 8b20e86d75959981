//! How long a request may take. Upstream: `endpoints/filters/request_deadline.go`.

use std::time::Duration;

use rkind_apimachinery::status::Status;

use crate::{error::Result, request::info::query_value};

/// The deadline of a request that is neither a watch nor a stream: the server's, or what `?timeout=`
/// asks for when that is less.
///
/// # Errors
/// 400 for a timeout that is no duration.
pub(crate) fn of(query: Option<&str>, limit: Duration) -> Result<Duration> {
    // Most requests have no such parameter; looking for its name is cheap.
    if !query.is_some_and(|q| q.contains("timeout=")) {
        return Ok(limit);
    }
    let Some(text) = query_value(query, "timeout").filter(|t| !t.is_empty()) else {
        return Ok(limit);
    };
    let Some(wanted) = parse(&text) else {
        let why = format!("invalid timeout specified in the request URL - time: invalid duration {text:?}");
        return Err(Status::bad_request(why).into());
    };
    Ok(if wanted.is_zero() {
        limit
    } else {
        wanted.min(limit)
    })
}

/// [`parse`], as a flag or a field wants it.
///
/// # Errors
/// In Go's words.
pub(crate) fn duration(text: &str) -> std::result::Result<Duration, String> {
    parse(text).ok_or_else(|| format!("time: invalid duration {text:?}"))
}

/// Go's `time.ParseDuration` for durations that are not negative.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut seconds = 0.0_f64;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let unit = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        seconds += number
            * match &rest[..unit] {
                "ns" => 1e-9,
                "us" | "µs" | "μs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return None,
            };
        rest = &rest[unit..];
    }
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_go_s() {
        let millis = |text: &str| parse(text).map(|d| d.as_millis());
        for (text, wanted) in [
            ("34s", Some(34_000)),
            ("1m30s", Some(90_000)),
            ("1.5h", Some(5_400_000)),
            ("0", Some(0)),
            ("100ms", Some(100)),
            ("5", None),
            ("", None),
            ("-1s", None),
            ("1d", None),
        ] {
            assert_eq!(millis(text), wanted, "{text}");
        }
    }

    #[test]
    fn a_client_asks_for_less_but_not_for_more() {
        let limit = Duration::from_secs(60);
        let at = |query| of(Some(query), limit).map(|d| d.as_secs());
        assert_eq!(at("timeout=5s").unwrap(), 5);
        assert_eq!(at("timeout=1h").unwrap(), 60);
        assert_eq!(at("timeout=0s").unwrap(), 60);
        assert_eq!(at("timeoutSeconds=5").unwrap(), 60);
        assert_eq!(at("timeout=soon").unwrap_err().code, 400);
    }
}
