use super::*;
use crate::observed::{Instance, Sandbox};

fn instance(name: &str, n: i32, sandbox: &str) -> Instance {
    Instance {
        id: format!("{name}{n}"),
        name: name.into(),
        sandbox_id: sandbox.into(),
        state: RunState::Exited,
        created_at: None,
        started_at: None,
        finished_at: None,
        exit_code: 0,
        reason: String::new(),
        message: String::new(),
        hash: String::new(),
        restart_count: n,
        image: String::new(),
        image_id: String::new(),
        log_path: String::new(),
    }
}

fn sandbox(id: &str, ready: bool) -> Sandbox {
    Sandbox {
        id: id.into(),
        attempt: 0,
        ready,
        host_network: false,
        ips: Vec::new(),
    }
}

#[test]
fn keeps_the_current_and_the_previous() {
    let observed = Observed {
        sandboxes: vec![sandbox("s2", true), sandbox("s1", false), sandbox("s0", false)],
        containers: vec![
            instance("a", 3, "s2"),
            instance("a", 2, "s1"),
            instance("b", 0, "s2"),
            instance("a", 1, "s0"),
        ],
    };
    assert_eq!(superfluous(&observed), ["a1"]);
    assert_eq!(empty_sandboxes(&observed), ["s0"]);
}

#[test]
fn rotated_logs_are_compressed_and_bounded() {
    let temp = tempfile::tempdir().expect("a directory");
    let path = temp.path().join("0.log");
    for second in 0..7 {
        fs::write(&path, "x").expect("a log");
        set_aside(&path, Timestamp::from_second(second).expect("a time")).expect("rotates");
    }
    tidy(&path).expect("tidies");
    let mut names: Vec<_> = fs::read_dir(temp.path())
        .expect("a list")
        .flatten()
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert_eq!(names.len(), MAX_FILES - 1);
    assert_eq!(names[0], "0.log.19700101-000003.gz");
    assert_eq!(names[3], "0.log.19700101-000006");
}
