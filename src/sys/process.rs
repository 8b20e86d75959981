//! Processes: starting them tied to us, reaping, signalling whole trees, and
//! what PID 1 of a container needs.

use std::collections::HashMap;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{self, SigSet, SigmaskHow};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

pub use nix::sys::signal::Signal;

use crate::error::{Context, Error, Result};

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Exit {
    /// It returned this code.
    Code(i32),
    /// This signal killed it.
    Signal(i32),
}

/// Settings of a process to be started.
pub trait CommandExt {
    /// The child gets `signal` when the thread that starts it ends. (The kernel
    /// ties it to the *thread*: start from one that lives as long as the process.)
    fn die_with_parent(&mut self, signal: Signal) -> &mut Self;
    /// The child leads a new session without a terminal, so signals meant for
    /// our process group pass it by.
    fn new_session(&mut self) -> &mut Self;
    /// The child starts with no signal blocked, whatever this process blocks.
    fn unblock_signals(&mut self) -> &mut Self;
}

impl CommandExt for Command {
    fn die_with_parent(&mut self, signal: Signal) -> &mut Self {
        let parent = std::process::id();
        let action = move || {
            nix::sys::prctl::set_pdeathsig(signal)?;
            // The parent may have died before the call above.
            if nix::unistd::getppid().as_raw() as u32 != parent {
                return Err(std::io::Error::from_raw_os_error(libc::ESRCH));
            }
            Ok(())
        };
        // SAFETY: between fork and exec only async-signal-safe system calls run.
        unsafe { self.pre_exec(action) }
    }

    fn new_session(&mut self) -> &mut Self {
        let action = || nix::unistd::setsid().map(|_| ()).map_err(Into::into);
        // SAFETY: between fork and exec only an async-signal-safe system call runs.
        unsafe { self.pre_exec(action) }
    }

    fn unblock_signals(&mut self) -> &mut Self {
        let action =
            || signal::sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None).map_err(Into::into);
        // SAFETY: between fork and exec only an async-signal-safe system call runs.
        unsafe { self.pre_exec(action) }
    }
}

/// Orphans among our descendants become our children, as if we were PID 1.
pub fn become_subreaper() -> Result<()> {
    nix::sys::prctl::set_child_subreaper(true).context(|| "become the reaper of orphans".to_owned())
}

fn exit_of(status: WaitStatus) -> Option<(u32, Exit)> {
    match status {
        WaitStatus::Exited(pid, code) => Some((pid.as_raw() as u32, Exit::Code(code))),
        WaitStatus::Signaled(pid, signal, _) => Some((pid.as_raw() as u32, Exit::Signal(signal as i32))),
        _ => None,
    }
}

/// Collects every child that has ended, without waiting. Don't use it beside a
/// runtime that waits for its own children: see [`reap_orphans`].
pub fn reap_all() -> Vec<(u32, Exit)> {
    let mut ended = Vec::new();
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return ended,
            Ok(status) => ended.extend(exit_of(status)),
            Err(Errno::EINTR) => {}
            Err(_) => return ended,
        }
    }
}

/// Collects children that have ended and that nobody else waits for: those for
/// which `is_awaited` says no.
pub fn reap_orphans(is_awaited: impl Fn(u32) -> bool) -> Vec<(u32, Exit)> {
    let me = std::process::id();
    let Ok(table) = table() else { return Vec::new() };
    table
        .into_iter()
        .filter(|(pid, entry)| entry.parent == me && entry.state == 'Z' && !is_awaited(*pid))
        .filter_map(|(pid, _)| exit_of(waitpid(Pid::from_raw(pid as i32), Some(WaitPidFlag::WNOHANG)).ok()?))
        .collect()
}

/// A process as `/proc/<pid>/stat` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its parent.
    pub parent: u32,
    /// `R` running, `S` sleeping, `Z` ended and not collected ...
    pub state: char,
    /// Its session.
    pub session: u32,
    /// First 15 bytes of its program's name.
    pub name: String,
    /// When it started, clock ticks after boot: with the pid it names a process for ever.
    pub started: u64,
}

fn parse_stat(text: &str) -> Option<Entry> {
    // The name may contain blanks and parentheses: the last one closes it.
    let open = text.find('(')?;
    let close = text.rfind(')')?;
    let fields: Vec<&str> = text.get(close + 1..)?.split_whitespace().collect();
    Some(Entry {
        name: text.get(open + 1..close)?.to_owned(),
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
    })
}

/// The process `pid`, if there is one.
pub fn entry(pid: u32) -> Option<Entry> {
    parse_stat(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Every process this one can see.
pub fn table() -> Result<HashMap<u32, Entry>> {
    let dir = std::fs::read_dir("/proc").context(|| "read /proc".to_owned())?;
    Ok(dir
        .flatten()
        .filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok())
        .filter_map(|pid| Some((pid, entry(pid)?)))
        .collect())
}

/// `root` and everything that descends from it, parents before children.
pub fn tree(root: u32) -> Result<Vec<u32>> {
    let table = table()?;
    let mut found = Vec::new();
    if table.contains_key(&root) {
        found.push(root);
    }
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        next += 1;
        found.extend(
            table
                .iter()
                .filter(|(pid, e)| e.parent == parent && **pid != parent)
                .map(|(pid, _)| *pid),
        );
    }
    Ok(found)
}

/// Sends `signal` to a process; one that has ended already is fine.
pub fn kill(pid: u32, signal: Signal) -> Result<()> {
    let what = || format!("send {signal} to process {pid}");
    // Zero and negative numbers would mean process groups.
    let target = i32::try_from(pid)
        .ok()
        .filter(|p| *p > 0)
        .ok_or_else(|| Error::os(what(), std::io::Error::from_raw_os_error(libc::ESRCH)))?;
    match signal::kill(Pid::from_raw(target), signal) {
        Err(Errno::ESRCH) => Ok(()),
        other => other.context(what),
    }
}

/// Sends `signal` to `root` and everything that descends from it.
pub fn kill_tree(root: u32, signal: Signal) -> Result<()> {
    for pid in tree(root)? {
        kill(pid, signal)?;
    }
    Ok(())
}

/// Sends `signal` to every process of this PID namespace except the caller: for
/// PID 1 on its way out.
pub fn kill_everybody_else(signal: Signal) -> Result<()> {
    match signal::kill(Pid::from_raw(-1), signal) {
        Err(Errno::ESRCH) => Ok(()),
        other => other.context(|| format!("send {signal} to every process")),
    }
}

/// Resident memory of a process, bytes.
pub fn resident_bytes(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    line.trim()
        .strip_suffix(" kB")?
        .trim()
        .parse::<u64>()
        .ok()
        .map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests;
