//! Cron schedules: five fields, names, steps, macros and `@every`. Pure.
//!
//! <https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/#schedule-syntax>

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};
use thiserror::Error;

/// A schedule or time zone that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum ScheduleError {
    #[error("expected exactly 5 fields, found {0}")]
    Fields(usize),
    #[error("failed to parse {0:?} as a schedule field")]
    Field(String),
    #[error("unrecognized descriptor: {0}")]
    Macro(String),
    #[error("unknown time zone {0}")]
    Zone(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    /// A bit per allowed value; whether days of month and week are unrestricted.
    Fields {
        minutes: u64,
        hours: u64,
        days: u64,
        months: u64,
        weekdays: u64,
        any_day: bool,
        any_weekday: bool,
    },
    Every(SignedDuration),
}

#[derive(Debug, Clone)]
pub(super) struct Schedule {
    kind: Kind,
    zone: TimeZone,
}

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

fn number(text: &str, first: u32, names: &[&str]) -> Option<u32> {
    let lower = text.to_ascii_lowercase();
    if let Some(place) = names.iter().position(|name| *name == lower) {
        return u32::try_from(place).ok().map(|n| n + first);
    }
    text.parse().ok()
}

fn field(text: &str, first: u32, last: u32, names: &[&str]) -> Result<u64, ScheduleError> {
    let wrong = || ScheduleError::Field(text.to_owned());
    let mut bits = 0;
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (
                range,
                step.parse::<u32>().ok().filter(|s| *s > 0).ok_or_else(wrong)?,
            ),
            None => (part, 1),
        };
        let (from, to) = if range == "*" || range == "?" {
            (first, last)
        } else if let Some((from, to)) = range.split_once('-') {
            (
                number(from, first, names).ok_or_else(wrong)?,
                number(to, first, names).ok_or_else(wrong)?,
            )
        } else {
            let from = number(range, first, names).ok_or_else(wrong)?;
            (from, if part.contains('/') { last } else { from })
        };
        if from < first || to > last || from > to {
            return Err(wrong());
        }
        let mut value = from;
        while value <= to {
            bits |= 1u64 << value;
            value += step;
        }
    }
    Ok(bits)
}

/// `1h30m`, `90s`, as Go writes durations; whole seconds.
fn go_duration(text: &str) -> Option<SignedDuration> {
    let (mut total, mut digits) = (0.0, String::new());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        if c.is_ascii_digit() || c == '.' {
            digits.push(c);
            continue;
        }
        let unit = match c {
            'h' => 3600.0,
            'm' if rest.peek() == Some(&'s') => {
                rest.next();
                0.001
            }
            'm' => 60.0,
            's' => 1.0,
            _ => return None,
        };
        total += digits.parse::<f64>().ok()? * unit;
        digits.clear();
    }
    (digits.is_empty() && total >= 1.0).then(|| SignedDuration::from_secs_f64(total.floor()))
}

impl Schedule {
    /// `zone`: an IANA name; `None`: UTC.
    pub(super) fn parse(text: &str, zone: Option<&str>) -> Result<Self, ScheduleError> {
        let zone = match zone {
            None | Some("") | Some("UTC") => TimeZone::UTC,
            Some(name) => TimeZone::get(name).map_err(|_| ScheduleError::Zone(name.to_owned()))?,
        };
        let text = text.trim();
        let expanded = match text {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            other => other,
        };
        if let Some(period) = expanded.strip_prefix("@every ") {
            let period = go_duration(period.trim()).ok_or_else(|| ScheduleError::Field(text.to_owned()))?;
            return Ok(Self {
                kind: Kind::Every(period),
                zone,
            });
        }
        if expanded.starts_with('@') {
            return Err(ScheduleError::Macro(text.to_owned()));
        }
        let parts: Vec<&str> = expanded.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = parts.as_slice() else {
            return Err(ScheduleError::Fields(parts.len()));
        };
        let any = |text: &str| text.starts_with('*') || text.starts_with('?');
        // Seven is Sunday too.
        let mut week = field(weekdays, 0, 7, &WEEKDAYS)?;
        week |= week >> 7 & 1;
        Ok(Self {
            kind: Kind::Fields {
                minutes: field(minutes, 0, 59, &[])?,
                hours: field(hours, 0, 23, &[])?,
                days: field(days, 1, 31, &[])?,
                months: field(months, 1, 12, &MONTHS)?,
                weekdays: week,
                any_day: any(days),
                any_weekday: any(weekdays),
            },
            zone,
        })
    }

    /// The time zone, to print times in.
    pub(super) fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// The first time after `after`; `None`: there is none within five years.
    pub(super) fn next(&self, after: Timestamp) -> Option<Timestamp> {
        match &self.kind {
            Kind::Every(period) => {
                let whole = Timestamp::from_second(after.as_second()).ok()?;
                whole.checked_add(*period).ok()
            }
            Kind::Fields { .. } => {
                let local = after.to_zoned(self.zone.clone()).datetime();
                let mut date = local.date();
                let mut from = Some(local.hour() as u32 * 60 + local.minute() as u32 + 1);
                for _ in 0..366 * 5 {
                    if self.day_matches(date) {
                        let mut minute = from.unwrap_or(0);
                        while let Some(found) = self.minute_from(minute) {
                            if let Some(at) = self.at(date, found).filter(|at| *at > after) {
                                return Some(at);
                            }
                            minute = found + 1;
                        }
                    }
                    from = None;
                    date = date.checked_add(1.day()).ok()?;
                }
                None
            }
        }
    }

    fn day_matches(&self, date: Date) -> bool {
        let Kind::Fields {
            days,
            months,
            weekdays,
            any_day,
            any_weekday,
            ..
        } = &self.kind
        else {
            return false;
        };
        let bit = |bits: u64, n: i8| u32::try_from(n).is_ok_and(|n| bits >> n & 1 == 1);
        let day = bit(*days, date.day());
        let weekday = bit(*weekdays, date.weekday().to_sunday_zero_offset());
        // With both restricted either is enough.
        bit(*months, date.month())
            && if *any_day || *any_weekday {
                day && weekday
            } else {
                day || weekday
            }
    }

    /// The first matching minute of a day from `minute` on.
    fn minute_from(&self, minute: u32) -> Option<u32> {
        let Kind::Fields { minutes, hours, .. } = &self.kind else {
            return None;
        };
        (minute..24 * 60).find(|m| hours >> (m / 60) & 1 == 1 && minutes >> (m % 60) & 1 == 1)
    }

    /// `None`: a time that the clocks skip that day.
    fn at(&self, date: Date, minute: u32) -> Option<Timestamp> {
        let (hour, minute) = (i8::try_from(minute / 60).ok()?, i8::try_from(minute % 60).ok()?);
        let civil = date.at(hour, minute, 0, 0);
        let zoned = self.zone.to_ambiguous_zoned(civil).compatible().ok()?;
        (zoned.datetime() == civil).then(|| zoned.timestamp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_times() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        for (schedule, zone, after, wanted) in [
            (
                "*/5 * * * *",
                None,
                "2026-01-01T00:00:00Z",
                "2026-01-01T00:05:00Z",
            ),
            (
                "*/5 * * * *",
                None,
                "2026-01-01T00:04:59Z",
                "2026-01-01T00:05:00Z",
            ),
            ("0 0 1 * *", None, "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"),
            (
                "30 9 * * mon-fri",
                None,
                "2026-01-02T09:30:00Z",
                "2026-01-05T09:30:00Z",
            ),
            ("0 0 13 * 5", None, "2026-01-02T00:00:00Z", "2026-01-09T00:00:00Z"),
            ("0 0 * * 7", None, "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z"),
            (
                "0 12 29 feb ?",
                None,
                "2026-01-01T00:00:00Z",
                "2028-02-29T12:00:00Z",
            ),
            ("@hourly", None, "2026-01-01T00:30:00Z", "2026-01-01T01:00:00Z"),
            (
                "@every 1h30m",
                None,
                "2026-01-01T00:00:00Z",
                "2026-01-01T01:30:00Z",
            ),
            (
                "0 9 * * *",
                Some("Etc/GMT-2"),
                "2026-01-01T00:00:00Z",
                "2026-01-01T07:00:00Z",
            ),
        ] {
            let parsed = Schedule::parse(schedule, zone).unwrap();
            assert_eq!(parsed.next(at(after)), Some(at(wanted)), "{schedule}");
        }
        assert_eq!(
            Schedule::parse("0 0 31 2 *", None)
                .unwrap()
                .next(at("2026-01-01T00:00:00Z")),
            None
        );
    }

    #[test]
    fn nonsense_is_refused() {
        assert_eq!(
            Schedule::parse("* * * *", None).unwrap_err(),
            ScheduleError::Fields(4)
        );
        for bad in [
            "60 * * * *",
            "* * 0 * *",
            "*/0 * * * *",
            "5-1 * * * *",
            "x * * * *",
            "@never",
            "@every 10ms",
        ] {
            assert!(Schedule::parse(bad, None).is_err(), "{bad}");
        }
        assert!(Schedule::parse("* * * * *", Some("Nowhere/Land")).is_err());
    }
}
