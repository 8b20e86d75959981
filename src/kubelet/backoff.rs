//! Exponential back-off per key, measured from the moment of the failure.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;

/// Delays double from `first` to `max`; a key that was quiet for twice `max` starts over.
#[derive(Debug)]
pub(crate) struct Backoffs {
    first: Duration,
    max: Duration,
    entries: HashMap<String, Entry>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    delay: Duration,
    updated: Timestamp,
}

fn since(later: Timestamp, earlier: Timestamp) -> Duration {
    Duration::try_from(later.duration_since(earlier)).unwrap_or_default()
}

impl Backoffs {
    pub(crate) fn new(first: Duration, max: Duration) -> Self {
        Self {
            first,
            max,
            entries: HashMap::new(),
        }
    }

    /// How much longer to wait after a failure at `failed`; `None`: try now. The second value is
    /// the whole current delay, as messages name it.
    pub(crate) fn remaining(
        &self,
        key: &str,
        failed: Timestamp,
        now: Timestamp,
    ) -> Option<(Duration, Duration)> {
        let entry = self.entries.get(key)?;
        if since(failed, entry.updated) > self.max * 2 {
            return None;
        }
        let passed = since(now, failed);
        (passed < entry.delay).then(|| (entry.delay - passed, entry.delay))
    }

    /// Notes that another try begins after the failure at `failed`: the next one waits longer.
    pub(crate) fn next(&mut self, key: &str, failed: Timestamp, now: Timestamp) {
        let delay = match self.entries.get(key) {
            Some(entry) if since(failed, entry.updated) <= self.max * 2 => (entry.delay * 2).min(self.max),
            _ => self.first,
        };
        self.entries
            .insert(key.to_string(), Entry { delay, updated: now });
    }

    /// How much longer to wait, measured from the last [`Backoffs::next`].
    pub(crate) fn remaining_since_update(&self, key: &str, now: Timestamp) -> Option<Duration> {
        let entry = self.entries.get(key)?;
        let passed = since(now, entry.updated);
        (passed < entry.delay).then(|| entry.delay - passed)
    }

    /// Forgets keys with this prefix.
    pub(crate) fn forget(&mut self, prefix: &str) {
        self.entries.retain(|key, _| !key.starts_with(prefix));
    }
}

/// A duration as messages print it: `10s`, `1m20s`, `5m0s`.
pub(crate) fn go_duration(duration: Duration) -> String {
    let total = duration.as_secs();
    let (hours, minutes, seconds) = (total / 3600, total % 3600 / 60, total % 60);
    let millis = duration.subsec_millis();
    if total == 0 {
        return if millis > 0 {
            format!("{millis}ms")
        } else {
            "0s".into()
        };
    }
    let fraction = if millis > 0 && total < 3600 {
        format!(".{}", format!("{millis:03}").trim_end_matches('0'))
    } else {
        String::new()
    };
    match (hours, minutes) {
        (0, 0) => format!("{seconds}{fraction}s"),
        (0, _) => format!("{minutes}m{seconds}{fraction}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests;
