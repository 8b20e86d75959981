use crate::outcome;

#[test]
fn every_command_explains_itself() {
    let commands: &[&[&str]] = &[
        &["--help"],
        &["start", "--help"],
        &["stop", "--help"],
        &["delete", "--help"],
        &["status", "--help"],
        &["image", "--help"],
        &["image", "load", "--help"],
        &["image", "build-node", "--help"],
        &["ssh", "--help"],
        &["logs", "--help"],
        &["node", "--help"],
        &["version", "--help"],
        &["create", "cluster", "--help"],
        &["get", "--help"],
        &["load", "docker-image", "--help"],
        &["export", "--help"],
    ];
    for command in commands {
        let name = format!("help {}", command[..command.len() - 1].join(" "));
        insta::assert_snapshot!(name.trim().replace(' ', "-"), outcome(command));
    }
}

#[test]
fn an_unknown_command_is_a_usage_error() {
    insta::assert_snapshot!(outcome(&["strat"]));
}
