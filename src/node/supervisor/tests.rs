//! The supervisor blocks signals and reaps every child of its process, so
//! each scenario runs in a process of its own: this test binary, called again.

use super::*;
use nix::sys::signal::SigmaskHow;
use std::io::{BufRead, BufReader};
use std::process::Child;

const SCENARIO: &str = "RKIND_SUPERVISOR_SCENARIO";

/// Not a test by itself: what the re-executed process runs.
#[test]
fn scenario() {
    let Ok(script) = std::env::var(SCENARIO) else {
        return;
    };
    let service = Service {
        name: "child",
        command: Box::new(move || {
            let mut shell = Command::new("/bin/sh");
            shell.args(["-c", &script]);
            shell
        }),
        grace: Duration::from_millis(200),
    };
    run(vec![service]).expect("the supervisor runs");
    println!("supervisor-returned");
}

fn supervise(script: &str) -> (Child, impl Iterator<Item = String>) {
    // Inherited by every thread of the scenario, as PID 1's main thread has it: else the signal
    // would end the test harness.
    let mut blocked = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT] {
        blocked.add(signal);
    }
    let before = blocked
        .thread_swap_mask(SigmaskHow::SIG_BLOCK)
        .expect("a valid mask");
    let mut child = Command::new(std::env::current_exe().expect("this binary has a path"))
        .args(["--exact", "supervisor::tests::scenario", "--nocapture"])
        .env(SCENARIO, script)
        .stdout(Stdio::piped())
        .spawn()
        .expect("re-execution");
    before.thread_set_mask().expect("a valid mask");
    let lines = BufReader::new(child.stdout.take().expect("piped"))
        .lines()
        .map_while(Result::ok);
    (child, lines)
}

fn stop(mut child: Child, mut lines: impl Iterator<Item = String>) {
    send(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM);
    assert!(lines.any(|line| line.contains("supervisor-returned")));
    assert!(child.wait().expect("it is our child").success());
}

#[test]
fn a_service_that_ends_is_started_again() {
    let (child, mut lines) = supervise("echo up; exit 3");
    assert_eq!(
        lines.by_ref().filter(|line| line.contains("up")).take(3).count(),
        3
    );
    stop(child, lines);
}

#[test]
fn stopping_ends_a_service_that_ignores_sigterm() {
    let (child, mut lines) = supervise("trap '' TERM; echo up; while :; do sleep 1; done");
    assert!(lines.any(|line| line.contains("up")));
    stop(child, lines);
}

#[test]
fn a_service_is_told_to_stop_before_it_is_killed() {
    let (child, mut lines) =
        supervise("trap 'echo told; exit 0' TERM; echo up; while :; do sleep 0.01; done");
    assert!(lines.any(|line| line.contains("up")));
    send(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM);
    assert!(lines.any(|line| line.contains("told")));
    stop(child, lines);
}
