//! The supervisor blocks signals and reaps every child of its process, so
//! each scenario runs in a process of its own: this test binary, called again.

use super::*;
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
    let mut child = Command::new(std::env::current_exe().expect("this binary has a path"))
        .args(["--exact", "supervisor::tests::scenario", "--nocapture"])
        .env(SCENARIO, script)
        .stdout(Stdio::piped())
        .spawn()
        .expect("re-execution");
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
