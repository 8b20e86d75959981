use std::fmt::Write as _;

use super::*;

fn tail(log: &str) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), log).unwrap();
    log_tail(file.path())
}

#[test]
fn last_words_are_what_was_written() {
    for (log, said) in [
        ("2026-01-01T00:00:00Z stdout P DONE\n", "DONE"),
        (
            "2026-01-01T00:00:00Z stdout F one\n2026-01-01T00:00:00Z stderr F two\n",
            "one\ntwo\n",
        ),
        (
            "2026-01-01T00:00:00Z stdout P one \n2026-01-01T00:00:00Z stdout F line\n",
            "one line\n",
        ),
        ("", ""),
    ] {
        assert_eq!(tail(log), said, "{log:?}");
    }
}

#[test]
fn of_many_lines_the_last_eighty_are_said() {
    let mut log = String::new();
    for i in 0..100 {
        writeln!(log, "2026-01-01T00:00:00Z stdout F {i}").unwrap();
    }
    let said = tail(&log);
    assert_eq!(said.lines().next(), Some("20"));
    assert_eq!(said.lines().count(), 80);
}
