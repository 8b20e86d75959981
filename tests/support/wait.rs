//! Awaiting what a command line can only be asked about.

use std::time::{Duration, Instant};

/// How long one question is spared after an answer of "not yet".
const PAUSE: Duration = Duration::from_millis(100);

/// Asks until there is an answer; fails with `what` after `deadline`.
#[track_caller]
pub fn eventually<T>(what: &str, deadline: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(started.elapsed() < deadline, "not within {deadline:?}: {what}");
        // The other side is a separate program with nothing to await.
        std::thread::sleep(PAUSE);
    }
}
