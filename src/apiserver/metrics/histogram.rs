//! A histogram in Prometheus' text form.

use std::{fmt::Write as _, time::Duration};

/// How many observations were at most as large as each bound.
pub(crate) struct Histogram {
    bounds: &'static [f64],
    buckets: Vec<u64>,
    count: u64,
    sum: f64,
}

impl Histogram {
    /// Without observations; `bounds` rise.
    pub(crate) fn new(bounds: &'static [f64]) -> Self {
        Histogram {
            bounds,
            buckets: vec![0; bounds.len()],
            count: 0,
            sum: 0.0,
        }
    }

    /// Of counts between the bounds and above them, and the sum in seconds; `None` without any.
    pub(super) fn of(bounds: &'static [f64], counts: Vec<u64>, sum: f64) -> Option<Self> {
        let count: u64 = counts.iter().sum();
        let mut below = 0;
        let buckets = counts.iter().take(bounds.len()).map(|n| {
            below += n;
            below
        });
        (count > 0).then(|| Histogram {
            bounds,
            buckets: buckets.collect(),
            count,
            sum,
        })
    }

    /// Whether nothing was counted.
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Counts a duration, in seconds.
    pub(crate) fn observe(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        for (bucket, bound) in self.buckets.iter_mut().zip(self.bounds) {
            *bucket += u64::from(seconds <= *bound);
        }
        self.count += 1;
        self.sum += seconds;
    }

    /// Its lines; `labels` as they stand between braces. Of the buckets, those from `least` up.
    pub(crate) fn write(&self, out: &mut String, name: &str, labels: &str, least: f64) {
        // Writing to a string does not fail.
        for (n, bound) in self.buckets.iter().zip(self.bounds) {
            if *bound >= least {
                let bound = number(*bound);
                let _ = writeln!(out, "{name}_bucket{{{labels},le=\"{bound}\"}} {n}");
            }
        }
        let _ = writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {}", self.count);
        let _ = writeln!(out, "{name}_sum{{{labels}}} {}", self.sum);
        let _ = writeln!(out, "{name}_count{{{labels}}} {}", self.count);
    }
}

/// As Go's client library writes a bound: `100000`, but `1e+06`.
fn number(bound: f64) -> String {
    if bound < 1e6 {
        return bound.to_string();
    }
    let text = format!("{bound:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    format!("{digits}e+{exponent:0>2}")
}
