//! Who has how many seats. Upstream: `conc_alloc.go` and `apf_controller.go`.

use std::{sync::Arc, time::Instant};

use super::level::{Bounds, Level};

/// How slowly a level's former demand is forgotten, per adjustment.
const DECAY: f64 = 0.977;

/// Seats in use and waited for, over time.
#[derive(Debug)]
pub(super) struct Demand {
    current: usize,
    since: Instant,
    began: Instant,
    /// Integrals of the demand and its square over time, in seats and seconds.
    sum: f64,
    squares: f64,
    most: usize,
    /// As of the last adjustment.
    pub told: Told,
}

/// What a level's demand was between two adjustments, in seats.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    pub average: f64,
    pub deviation: f64,
    pub most: usize,
    /// A smooth estimate of what is wanted.
    pub smooth: f64,
}

impl Demand {
    pub(super) fn new(now: Instant) -> Self {
        Demand {
            current: 0,
            since: now,
            began: now,
            sum: 0.0,
            squares: 0.0,
            most: 0,
            told: Told::default(),
        }
    }

    /// The demand is now `seats`.
    pub(super) fn set(&mut self, seats: usize) {
        if seats != self.current {
            self.pass(Instant::now());
            self.current = seats;
            self.most = self.most.max(seats);
        }
    }

    fn pass(&mut self, now: Instant) {
        let (seconds, seats) = (
            now.saturating_duration_since(self.since).as_secs_f64(),
            self.current as f64,
        );
        self.sum += seats * seconds;
        self.squares += seats * seats * seconds;
        self.since = now;
    }

    /// What the demand was since the last call.
    pub(super) fn take(&mut self, now: Instant) -> Told {
        self.pass(now);
        let seconds = now.saturating_duration_since(self.began).as_secs_f64().max(1e-9);
        let average = self.sum / seconds;
        let deviation = (self.squares / seconds - average * average).max(0.0).sqrt();
        let most = self.most;
        let envelope = (average + deviation).min(most as f64);
        let smooth = envelope.max(DECAY * self.told.smooth + (1.0 - DECAY) * envelope);
        self.told = Told {
            average,
            deviation,
            most,
            smooth,
        };
        self.began = now;
        self.sum = 0.0;
        self.squares = 0.0;
        self.most = self.current;
        self.told
    }
}

/// Shares out `seats` by the levels' shares.
pub(super) fn allot<'a>(levels: impl Iterator<Item = &'a Arc<Level>>, seats: usize) {
    let levels: Vec<_> = levels.map(|level| (level, level.spec())).collect();
    let total: f64 = levels.iter().map(|(_, spec)| spec.shares).sum();
    for (level, spec) in &levels {
        let nominal = if total > 0.0 {
            (seats as f64 * spec.shares / total).ceil()
        } else {
            0.0
        };
        let lendable = (nominal * spec.lendable / 100.0).round();
        let most = match spec.borrowing {
            None => seats as f64,
            Some(percent) => (nominal + (nominal * percent / 100.0).round()).min(seats as f64),
        };
        let bounds = Bounds {
            nominal: nominal as usize,
            least: (nominal - lendable) as usize,
            most: most.max(nominal) as usize,
        };
        let known = level.state.lock().bounds;
        // A level that did not change keeps what it has borrowed.
        if known != bounds {
            level.bound(bounds, bounds.nominal);
        }
    }
}

/// Gives each level what it wants, as far as all together allow it.
pub(super) fn lend<'a>(levels: impl Iterator<Item = &'a Arc<Level>>, seats: usize, now: Instant) {
    let levels: Vec<_> = levels.collect();
    let mut wishes = Vec::new();
    let mut left = seats as f64;
    for level in &levels {
        let mut state = level.state.lock();
        let Told { most, smooth, .. } = state.demand.take(now);
        let bounds = state.bounds;
        if level.is_exempt() {
            // It is never limited; what it uses is not there for others.
            left -= (bounds.least.max(smooth.round() as usize)) as f64;
            continue;
        }
        let least = bounds.least.max(bounds.nominal.min(most)) as f64;
        let target = smooth.max(least);
        state.target = target;
        wishes.push(Wish {
            least,
            most: bounds.most as f64,
            target,
        });
    }
    let limited = levels.iter().filter(|l| !l.is_exempt());
    let given = share(left, &wishes);
    for (level, limit) in limited.zip(given) {
        let bounds = level.state.lock().bounds;
        level.bound(bounds, limit.round() as usize);
    }
}

/// What a level must, may and would like to have.
pub(super) struct Wish {
    pub least: f64,
    pub most: f64,
    pub target: f64,
}

/// Everybody's target times one common factor, within their bounds, so that the sum is `total`; the
/// bounds themselves where no factor gives that.
pub(super) fn share(total: f64, wishes: &[Wish]) -> Vec<f64> {
    let at = |factor: f64| -> Vec<f64> {
        wishes
            .iter()
            .map(|w| (w.target.max(f64::MIN_POSITIVE) * factor).clamp(w.least, w.most.max(w.least)))
            .collect()
    };
    let sum = |factor: f64| at(factor).iter().sum::<f64>();
    let (mut low, mut high) = (0.0, 1.0);
    while sum(high) < total && high < 1e9 {
        high *= 2.0;
    }
    for _ in 0..64 {
        let middle = (low + high) / 2.0;
        if sum(middle) < total {
            low = middle;
        } else {
            high = middle;
        }
    }
    at(low)
}
