//! Keeps a fixed set of child processes running and reaps everybody else's.
//!
//! PID 1 has two duties that no library takes over: a process whose parent
//! died becomes its child and must be waited for, and SIGTERM means that the
//! node stops. Both arrive as signals, so the loop is synchronous: it blocks
//! the signals, reads them from a descriptor, and its only clock is the
//! poll's timeout for restarts that are due.

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use rkind_sys::process::CommandExt;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);
/// A child that ran this long has recovered: its back-off starts anew.
const RECOVERED: Duration = Duration::from_secs(10);

/// A program to keep running.
pub(crate) struct Service {
    /// What the log calls it.
    pub(crate) name: &'static str,
    /// Makes the command for each start.
    pub(crate) command: Box<dyn Fn() -> Command>,
    /// How long it may take to end after SIGTERM before SIGKILL.
    pub(crate) grace: Duration,
}

struct Supervised {
    service: Service,
    state: State,
    backoff: Duration,
}

enum State {
    Running { pid: Pid, since: Instant },
    Waiting { until: Instant },
}

/// Supervises until SIGTERM or SIGINT; then stops the services one by one,
/// the last named first, and returns.
pub(crate) fn run(services: Vec<Service>) -> std::io::Result<()> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT] {
        signals.add(signal);
    }
    signals.thread_block()?;
    let descriptor = SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
    let mut supervised: Vec<Supervised> = services.into_iter().map(Supervised::start).collect();
    loop {
        wait_for_signal(&descriptor, next_restart(&supervised))?;
        let stopping = drain(&descriptor)?;
        reap(&mut supervised);
        if stopping {
            break;
        }
        for one in &mut supervised {
            one.restart_if_due();
        }
    }
    tracing::info!("stopping");
    while let Some(last) = supervised.pop() {
        last.stop(&descriptor, &mut supervised)?;
    }
    Ok(())
}

impl Supervised {
    fn start(service: Service) -> Self {
        let state = spawn(&service, FIRST_BACKOFF);
        Self {
            service,
            state,
            backoff: FIRST_BACKOFF,
        }
    }

    fn restart_if_due(&mut self) {
        if let State::Waiting { until } = self.state
            && until <= Instant::now()
        {
            self.backoff = (self.backoff * 2).min(LONGEST_BACKOFF);
            self.state = spawn(&self.service, self.backoff);
        }
    }

    fn ended(&mut self, status: WaitStatus) {
        if let State::Running { since, .. } = self.state
            && since.elapsed() >= RECOVERED
        {
            self.backoff = FIRST_BACKOFF;
        }
        tracing::warn!(service = self.service.name, ?status, restart_in = ?self.backoff, "ended");
        self.state = State::Waiting {
            until: Instant::now() + self.backoff,
        };
    }

    fn pid(&self) -> Option<Pid> {
        match self.state {
            State::Running { pid, .. } => Some(pid),
            State::Waiting { .. } => None,
        }
    }

    /// SIGTERM, the grace period, SIGKILL; reaping everybody meanwhile.
    fn stop(mut self, descriptor: &SignalFd, others: &mut [Supervised]) -> std::io::Result<()> {
        let Some(pid) = self.pid() else { return Ok(()) };
        send(pid, Signal::SIGTERM);
        let deadline = Instant::now() + self.service.grace;
        let mut killed = false;
        loop {
            match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) => {}
                Err(Errno::EINTR) => continue,
                Ok(status) => {
                    tracing::info!(service = self.service.name, ?status, "stopped");
                    self.state = State::Waiting { until: deadline };
                    return Ok(());
                }
                Err(_) => return Ok(()),
            }
            if !killed && deadline <= Instant::now() {
                tracing::warn!(service = self.service.name, "did not end in time; killing it");
                send(pid, Signal::SIGKILL);
                killed = true;
            }
            let until = if killed { None } else { Some(deadline) };
            wait_for_signal(descriptor, until)?;
            drain(descriptor)?;
            reap_except(pid, others);
        }
    }
}

fn spawn(service: &Service, backoff: Duration) -> State {
    // A blocked signal is inherited, through the runtime even by the pods' own processes.
    match (service.command)().stdin(Stdio::null()).unblock_signals().spawn() {
        Ok(child) => {
            let pid = Pid::from_raw(child.id().cast_signed());
            tracing::info!(service = service.name, %pid, "started");
            State::Running {
                pid,
                since: Instant::now(),
            }
        }
        Err(error) => {
            tracing::error!(service = service.name, %error, "could not start");
            State::Waiting {
                until: Instant::now() + backoff,
            }
        }
    }
}

fn next_restart(supervised: &[Supervised]) -> Option<Instant> {
    supervised
        .iter()
        .filter_map(|one| match one.state {
            State::Waiting { until } => Some(until),
            State::Running { .. } => None,
        })
        .min()
}

fn wait_for_signal(descriptor: &SignalFd, until: Option<Instant>) -> std::io::Result<()> {
    let timeout = match until {
        None => PollTimeout::NONE,
        Some(until) => {
            // Rounded up: waking a moment early would spin until it is due.
            let millis = until.saturating_duration_since(Instant::now()).as_millis() + 1;
            PollTimeout::from(u16::try_from(millis).unwrap_or(u16::MAX))
        }
    };
    match poll(&mut [PollFd::new(descriptor.as_fd(), PollFlags::POLLIN)], timeout) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Reads what signals there are; true when one of them asks to stop.
fn drain(descriptor: &SignalFd) -> std::io::Result<bool> {
    let mut stopping = false;
    while let Some(signal) = descriptor.read_signal()? {
        stopping |= signal.ssi_signo != Signal::SIGCHLD as u32;
    }
    Ok(stopping)
}

fn reap(supervised: &mut [Supervised]) {
    while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        let Some(pid) = status.pid() else { return };
        if let Some(one) = supervised.iter_mut().find(|one| one.pid() == Some(pid)) {
            one.ended(status);
        }
    }
}

/// Reaps orphans and the other services, but leaves `pid` to its waiter:
/// `waitpid` cannot exclude one, so the loop ends at it.
fn reap_except(pid: Pid, supervised: &mut [Supervised]) {
    use nix::sys::wait::{Id, waitid};
    let peek = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    while let Ok(status) = waitid(Id::All, peek) {
        match status.pid() {
            Some(found) if found != pid => {
                if let Ok(status) = waitpid(found, Some(WaitPidFlag::WNOHANG))
                    && let Some(one) = supervised.iter_mut().find(|one| one.pid() == Some(found))
                {
                    one.ended(status);
                }
            }
            _ => return,
        }
    }
}

fn send(pid: Pid, signal: Signal) {
    if let Err(error) = kill(pid, signal) {
        tracing::debug!(%pid, %signal, %error, "signal not delivered");
    }
}

#[cfg(test)]
mod tests;
