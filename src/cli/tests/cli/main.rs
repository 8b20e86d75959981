//! What the command line prints: one file per command.

mod alone;
mod apiserver;
mod help;
mod start;

use assert_cmd::Command;

/// The program in an empty world: no engine, no configuration, no colours.
fn rkind(home: &std::path::Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rkind"));
    command
        .env_clear()
        .env("HOME", home)
        .env("PATH", "/nonexistent")
        .env("DOCKER_HOST", "unix:///nonexistent/docker.sock")
        .current_dir(home);
    command
}

/// Exit code, standard output and standard error of a call.
fn outcome(arguments: &[&str]) -> String {
    let home = tempfile::tempdir().unwrap();
    outcome_in(home.path(), arguments)
}

fn outcome_in(home: &std::path::Path, arguments: &[&str]) -> String {
    let output = rkind(home).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    format!(
        "$ rkind {}\nexit code: {}\n--- stdout\n{}--- stderr\n{}",
        arguments.join(" "),
        output.status.code().unwrap_or(-1),
        text(&output.stdout),
        text(&output.stderr)
    )
}

/// Nothing was left in the home directory.
fn assert_untouched(home: &std::path::Path, but: &[&str]) {
    let mut names: Vec<String> = std::fs::read_dir(home)
        .unwrap()
        .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.retain(|n| !but.contains(&n.as_str()));
    assert!(names.is_empty(), "left behind: {names:?}");
}
