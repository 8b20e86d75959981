//! Scalars with a notation of their own, brought into the form Go would write.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

/// RFC 3339 in UTC with whole seconds; `None` for Go's zero time, which Go writes as null.
pub(crate) fn time(text: &str) -> Result<Option<String>, String> {
    let at = parse_time(text, "2006-01-02T15:04:05Z07:00")?;
    Ok(at.map(|at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()))
}

/// RFC 3339 in UTC with microseconds; `None` for Go's zero time.
pub(crate) fn micro_time(text: &str) -> Result<Option<String>, String> {
    let at = parse_time(text, "2006-01-02T15:04:05.000000Z07:00")?;
    Ok(at.map(format_micro))
}

pub(crate) fn format_micro(at: Timestamp) -> String {
    let micros = at.subsec_nanosecond().rem_euclid(1_000_000_000) / 1_000;
    format!("{}.{micros:06}Z", at.strftime("%Y-%m-%dT%H:%M:%S"))
}

fn parse_time(text: &str, layout: &str) -> Result<Option<Timestamp>, String> {
    if text == "0001-01-01T00:00:00Z" {
        return Ok(None);
    }
    // jiff reads more notations than RFC 3339: hold the shape that Go insists on.
    let shaped = text.len() >= 20 && text.as_bytes()[10] == b'T' && !text.ends_with(']');
    let parsed = if shaped {
        text.parse::<Timestamp>().ok()
    } else {
        None
    };
    match parsed {
        Some(at) => Ok(Some(at)),
        None => Err(format!(
            "parsing time {text:?} as {layout:?}: cannot parse {text:?} as \"2006\""
        )),
    }
}

/// Standard base64 without line breaks.
pub(crate) fn bytes(text: &str) -> Result<String, String> {
    if text.contains(['\n', '\r']) {
        return bytes(&text.replace(['\n', '\r'], ""));
    }
    match STANDARD.decode(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!(
            "illegal base64 data at input byte {}",
            base64_offset(error, text.len())
        )),
    }
}

fn base64_offset(error: base64::DecodeError, len: usize) -> usize {
    match error {
        base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => at,
        // Go names the start of the group of four that is not whole.
        base64::DecodeError::InvalidLength(_) | base64::DecodeError::InvalidPadding => {
            len.saturating_sub(1) / 4 * 4
        }
    }
}

/// Go's duration notation, such as `1h2m3.5s`, in nanoseconds.
pub(crate) fn parse_duration(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {text:?}");
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let number_len = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, tail) = rest.split_at(number_len);
        let unit_len = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_len);
        if unit.is_empty() {
            return Err(format!("time: missing unit in duration {text:?}"));
        }
        let scale: i128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return Err(format!("time: unknown unit {unit:?} in duration {text:?}")),
        };
        total += decimal(number, scale).ok_or_else(invalid)?;
        rest = tail;
    }
    let signed = if negative { -total } else { total };
    i64::try_from(signed).map_err(|_| invalid())
}

fn decimal(number: &str, scale: i128) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.len() + fraction.len() == 0 || whole.len() > 19 || fraction.contains('.') {
        return None;
    }
    let fraction = &fraction[..fraction.len().min(18)];
    let mut nanos = if whole.is_empty() {
        0
    } else {
        whole.parse::<i128>().ok()? * scale
    };
    if !fraction.is_empty() {
        nanos += fraction.parse::<i128>().ok()? * scale / 10_i128.pow(fraction.len() as u32);
    }
    Some(nanos)
}

/// Nanoseconds as Go prints a duration: `1h2m3.5s`, `1.5ms`, `0s`.
pub(crate) fn format_duration(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let total = nanos.unsigned_abs();
    if total < 1_000_000_000 {
        let (unit, scale) = match total {
            0 => return "0s".to_owned(),
            1..1_000 => ("ns", 1),
            1_000..1_000_000 => ("µs", 1_000),
            _ => ("ms", 1_000_000),
        };
        return format!("{sign}{}{unit}", fraction(total, scale));
    }
    let (minutes, seconds) = (
        total / 60_000_000_000,
        fraction(total % 60_000_000_000, 1_000_000_000),
    );
    let (hours, minutes) = (minutes / 60, minutes % 60);
    match (hours, minutes) {
        (0, 0) => format!("{sign}{seconds}s"),
        (0, _) => format!("{sign}{minutes}m{seconds}s"),
        _ => format!("{sign}{hours}h{minutes}m{seconds}s"),
    }
}

/// `value / scale` as a decimal without trailing zeros.
fn fraction(value: u64, scale: u64) -> String {
    let (whole, rest) = (value / scale, value % scale);
    if rest == 0 {
        return whole.to_string();
    }
    let width = scale.ilog10() as usize;
    format!("{whole}.{}", format!("{rest:0width$}").trim_end_matches('0'))
}
