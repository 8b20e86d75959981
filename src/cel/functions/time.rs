//! Times and durations.

use jiff::{SignedDuration, Timestamp, civil::Weekday, tz::TimeZone};

use super::{Out, no_overload};
use crate::value::Value;

/// RFC 3339 with a time zone.
pub(crate) fn parse_timestamp(text: &str) -> Option<Timestamp> {
    let b = text.as_bytes();
    if b.len() < 20 || b[4] != b'-' || !matches!(b[10], b'T' | b't') {
        return None;
    }
    text.parse().ok()
}

/// What a schema of format `date` or `date-time` allows.
pub(crate) fn parse_json_time(text: &str) -> Option<Timestamp> {
    parse_timestamp(text).or_else(|| {
        let date: jiff::civil::Date = text.parse().ok()?;
        (text.len() == 10).then_some(())?;
        Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp())
    })
}

/// Go's duration text: `1h2m3.5s`, `-1ms`, `0`.
pub(crate) fn parse_duration(text: &str) -> Option<SignedDuration> {
    let (negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(SignedDuration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(end);
        let unit_end = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_end);
        let scale: i128 = match unit {
            "ns" => 1,
            "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
            return None;
        }
        if !whole.is_empty() {
            total = total.checked_add(whole.parse::<i128>().ok()?.checked_mul(scale)?)?;
        }
        let mut part = scale;
        for digit in fraction.bytes().take(20) {
            part /= 10;
            total += i128::from(digit - b'0') * part;
        }
        rest = next;
    }
    let nanos = i64::try_from(if negative { -total } else { total }).ok()?;
    Some(SignedDuration::from_nanos(nanos))
}

/// `string(duration)`: seconds, `5.5s`.
pub(crate) fn duration_text(d: SignedDuration) -> String {
    let nanos = d.as_nanos();
    let (sign, nanos) = if nanos < 0 { ("-", -nanos) } else { ("", nanos) };
    let (seconds, fraction) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    if fraction == 0 {
        return format!("{sign}{seconds}s");
    }
    let fraction = format!("{fraction:09}");
    format!("{sign}{seconds}.{}s", fraction.trim_end_matches('0'))
}

fn zone(name: &str) -> Result<TimeZone, String> {
    if name.is_empty() || name == "UTC" {
        return Ok(TimeZone::UTC);
    }
    let fixed = || -> Option<TimeZone> {
        let (negative, rest) = match name.as_bytes()[0] {
            b'-' => (true, &name[1..]),
            b'+' => (false, &name[1..]),
            _ => (false, name),
        };
        let (hours, minutes) = rest.split_once(':')?;
        let (hours, minutes) = (hours.parse::<i32>().ok()?, minutes.parse::<i32>().ok()?);
        let seconds = hours.checked_mul(3600)?.checked_add(minutes.checked_mul(60)?)?;
        let offset = jiff::tz::Offset::from_seconds(if negative { -seconds } else { seconds }).ok()?;
        Some(TimeZone::fixed(offset))
    };
    fixed()
        .or_else(|| TimeZone::get(name).ok())
        .ok_or_else(|| format!("unknown time zone {name}"))
}

/// The accessors of times and durations.
pub(crate) fn call<'a>(name: &str, args: &[Value<'a>]) -> Out<'a> {
    if let [Value::Duration(d)] = args {
        return Ok(Value::Int(match name {
            "getHours" => d.as_secs() / 3600,
            "getMinutes" => d.as_secs() / 60,
            "getSeconds" => d.as_secs(),
            "getMilliseconds" => i64::from(d.subsec_millis()),
            _ => return no_overload(),
        }));
    }
    let (time, tz) = match args {
        [Value::Timestamp(time)] => (time, TimeZone::UTC),
        [Value::Timestamp(time), Value::String(name)] => (time, zone(name)?),
        _ => return no_overload(),
    };
    let at = time.to_zoned(tz);
    Ok(Value::Int(i64::from(match name {
        "getFullYear" => i32::from(at.year()),
        "getMonth" => i32::from(at.month()) - 1,
        "getDayOfYear" => i32::from(at.day_of_year()) - 1,
        "getDayOfMonth" => i32::from(at.day()) - 1,
        "getDate" => i32::from(at.day()),
        "getDayOfWeek" => match at.weekday() {
            Weekday::Sunday => 0,
            other => i32::from(other.to_monday_one_offset()),
        },
        "getHours" => i32::from(at.hour()),
        "getMinutes" => i32::from(at.minute()),
        "getSeconds" => i32::from(at.second()),
        "getMilliseconds" => i32::from(at.millisecond()),
        _ => return no_overload(),
    })))
}
