use super::*;

#[test]
fn stat_lines_with_awkward_names() {
    let text = "42 (a (b) c) S 7 42 40 0 -1 4194560 1 0 0 0 1 2 0 0 20 0 1 0 99887 1000 200\n";
    let entry = parse_stat(text).unwrap();
    assert_eq!(
        (entry.name.as_str(), entry.state, entry.parent, entry.session),
        ("a (b) c", 'S', 7, 40)
    );
    assert_eq!(entry.started, 99887);
    assert!(parse_stat("").is_none() && parse_stat("1 (x").is_none() && parse_stat("1 (x) S").is_none());
}

#[test]
fn a_tree_is_found_killed_and_collected() {
    let mut command = Command::new("sh");
    command
        .args(["-c", "sleep 1000 & read x"])
        .stdin(std::process::Stdio::piped());
    let mut child = command.new_session().unblock_signals().spawn().unwrap();
    let pid = child.id();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while tree(pid).unwrap().len() < 2 {
        assert!(
            std::time::Instant::now() < deadline,
            "the shell's child never appeared"
        );
        std::thread::yield_now();
    }
    assert_eq!(entry(pid).unwrap().session, pid);
    assert!(resident_bytes(pid).unwrap() > 0);
    kill_tree(pid, Signal::SIGKILL).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&status),
        Some(libc::SIGKILL)
    );
    kill(pid, Signal::SIGKILL).unwrap();
    assert!(kill(0, Signal::SIGTERM).is_err());
}
