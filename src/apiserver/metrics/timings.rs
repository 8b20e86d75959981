//! Durations that are counted on every write, without a lock.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::histogram::Histogram;

/// Upper bounds, in seconds.
const BOUNDS: &[f64] = &[0.005, 0.025, 0.1, 0.5, 1.0, 2.5];
/// As admission reviews name them.
const OPERATIONS: [&str; 4] = ["CREATE", "UPDATE", "DELETE", "CONNECT"];

#[derive(Default)]
struct Cell {
    /// Observations up to each bound, none of them in two, and those above.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    nanos: AtomicU64,
}

/// Durations by operation, and by whether the request was rejected.
#[derive(Default)]
pub(crate) struct Timings([[Cell; 2]; OPERATIONS.len()]);

impl Timings {
    /// Counts one; `operation` is an admission review's.
    pub(crate) fn observe(&self, operation: &str, rejected: bool, took: Duration) {
        let Some(row) = OPERATIONS.iter().position(|own| *own == operation) else {
            return;
        };
        let cell = &self.0[row][usize::from(rejected)];
        let seconds = took.as_secs_f64();
        let bucket = BOUNDS.iter().position(|bound| seconds <= *bound);
        cell.buckets[bucket.unwrap_or(BOUNDS.len())].fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        cell.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Its lines; `labels` come before its own.
    pub(super) fn write(&self, out: &mut String, name: &str, labels: &str, kind: &str) {
        for (operation, row) in OPERATIONS.iter().zip(&self.0) {
            for (rejected, cell) in [false, true].into_iter().zip(row) {
                let counts = cell.buckets.iter().map(|n| n.load(Ordering::Relaxed)).collect();
                let seconds = Duration::from_nanos(cell.nanos.load(Ordering::Relaxed)).as_secs_f64();
                let Some(all) = Histogram::of(BOUNDS, counts, seconds) else {
                    continue;
                };
                let labels =
                    format!("{labels}operation=\"{operation}\",rejected=\"{rejected}\",type=\"{kind}\"");
                all.write(out, name, &labels, 0.0);
            }
        }
    }
}
