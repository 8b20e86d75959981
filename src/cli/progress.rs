//! Steps as they happen: drawn on a terminal, one line each elsewhere.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use console::style;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rkind_cluster::Reporter;

use crate::printer;

/// A [`Reporter`] on standard error.
pub(crate) struct Progress {
    terminal: bool,
    bar: Mutex<Option<ProgressBar>>,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Progress {
            terminal: console::user_attended_stderr(),
            bar: Mutex::new(None),
        }
    }

    fn with_bar(&self, f: impl FnOnce(&mut Option<ProgressBar>)) {
        f(&mut self.bar.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// A line among the steps.
    pub(crate) fn line(&self, text: &str) {
        self.with_bar(|bar| match bar {
            Some(bar) => bar.suspend(|| printer::note(text)),
            None => printer::note(text),
        });
    }
}

/// `0.42s`, `1m 03s`
pub(crate) fn duration(took: Duration) -> String {
    let seconds = took.as_secs_f64();
    if seconds < 60.0 {
        format!("{seconds:.2}s")
    } else {
        format!("{}m {:02}s", took.as_secs() / 60, took.as_secs() % 60)
    }
}

impl Reporter for Progress {
    fn begin(&self, step: &str) {
        if !self.terminal {
            return;
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{spinner:.cyan} {prefix} {msg:.dim} {elapsed:.dim}")
        {
            bar.set_style(style);
        }
        bar.set_prefix(step.to_owned());
        bar.enable_steady_tick(Duration::from_millis(80));
        self.with_bar(|slot| *slot = Some(bar));
    }

    fn detail(&self, text: &str) {
        if self.terminal {
            self.with_bar(|bar| {
                if let Some(bar) = bar {
                    bar.set_message(text.to_owned());
                }
            });
        } else {
            printer::note(&format!("     {text}"));
        }
    }

    fn end(&self, step: &str, took: Duration, ok: bool) {
        self.with_bar(|bar| {
            if let Some(bar) = bar.take() {
                bar.finish_and_clear();
            }
        });
        let mark = if ok {
            style("✓").for_stderr().green()
        } else {
            style("✗").for_stderr().red()
        };
        let took = duration(took);
        printer::note(&format!(" {mark} {step} {}", style(took).for_stderr().dim()));
    }

    fn warn(&self, text: &str) {
        self.with_bar(|bar| match bar {
            Some(bar) => bar.suspend(|| printer::warning(text)),
            None => printer::warning(text),
        });
    }
}
