//! Exponential delays with a cap and jitter.

use std::time::Duration;

use rand::Rng;

/// Doubling delays from `first` to `max`, each with up to 20 % added jitter so that many loops which
/// failed together don't come back together.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    failures: u32,
}

impl Backoff {
    /// Delays `first, 2*first, 4*first, …` capped at `max`.
    pub fn new(first: Duration, max: Duration) -> Self {
        Self {
            first,
            max,
            failures: 0,
        }
    }

    /// The next delay.
    pub fn next_delay(&mut self) -> Duration {
        let delay = exponential(self.first, self.max, self.failures);
        self.failures = self.failures.saturating_add(1);
        delay.mul_f64(1.0 + rand::rng().random_range(0.0..0.2))
    }

    /// Something worked: begin again with the first delay.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

/// `first * 2^failures`, capped at `max`.
pub(crate) fn exponential(first: Duration, max: Duration, failures: u32) -> Duration {
    first
        .checked_mul(1u32.checked_shl(failures).unwrap_or(u32::MAX))
        .map_or(max, |d| d.min(max))
}
