use super::*;

fn file(text: &str) -> PayloadFile {
    PayloadFile {
        data: text.into(),
        mode: 0o644,
        uid: None,
    }
}

fn payload(files: &[(&str, &str)]) -> Payload {
    files
        .iter()
        .map(|(path, text)| ((*path).to_string(), file(text)))
        .collect()
}

fn stamp(n: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_second(n).expect("a time")
}

#[test]
fn switches_all_files_at_once_and_only_when_needed() {
    let temp = tempfile::tempdir().expect("a directory");
    let dir = temp.path();
    assert!(write(dir, &payload(&[("a", "1"), ("sub/b", "2")]), None, stamp(1)).expect("writes"));
    assert_eq!(fs::read_to_string(dir.join("a")).expect("a"), "1");
    assert_eq!(fs::read_to_string(dir.join("sub/b")).expect("b"), "2");
    assert!(dir.join("a").symlink_metadata().expect("a link").is_symlink());
    assert_eq!(
        fs::metadata(dir.join("a")).expect("mode").permissions().mode() & 0o777,
        0o644
    );
    assert!(!write(dir, &payload(&[("a", "1"), ("sub/b", "2")]), None, stamp(2)).expect("nothing to do"));
    let before = fs::read_link(dir.join(DATA)).expect("a link");
    assert!(write(dir, &payload(&[("a", "3"), ("c", "4")]), None, stamp(3)).expect("writes"));
    assert_eq!(fs::read_to_string(dir.join("a")).expect("a"), "3");
    assert!(!dir.join("sub").exists() && dir.join("c").exists());
    assert!(!dir.join(before).exists(), "the old content is removed");
}

#[test]
fn refuses_to_leave_the_volume() {
    let temp = tempfile::tempdir().expect("a directory");
    for bad in ["../x", "/x", "a/../../x", "..data", ""] {
        assert!(
            write(temp.path(), &payload(&[(bad, "")]), None, stamp(1)).is_err(),
            "{bad}"
        );
    }
}
