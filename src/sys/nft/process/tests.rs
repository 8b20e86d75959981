use super::*;

#[test]
fn a_failed_program_is_quoted_and_long_lines_are_cut() {
    let long = format!(
        "in:1:9-10: Error: x\n{}\n        ^^\n{}\n",
        "e".repeat(100_000),
        " ".repeat(9)
    );
    let short = shorten(&long);
    assert!(
        short.starts_with("in:1:9-10: Error: x\neee") && short.len() < 300,
        "{short}"
    );

    let missing = Process::with_program("/nonexistent/nft")
        .run(&["-f", "-"], "")
        .unwrap_err();
    assert_eq!(missing.to_string(), "cannot run `/nonexistent/nft -f -`");
    let refused = Process::with_program("false").run(&["-f", "-"], "x").unwrap_err();
    assert!(
        refused
            .to_string()
            .starts_with("`false -f -` failed with exit status: 1"),
        "{refused}"
    );
}

#[test]
fn listings_lose_their_timeouts() {
    let text = "table ip t {\n\tmap a {\n\t\ttype mark . ipv4_addr : mark\n\t\tflags dynamic,timeout\n\
        \t\telements = { 0x00000002 . 10.1.1.1 timeout 3h expires 2h59m59s992ms : 0x0000000a,\n\
        \t\t\t     0x00000003 . 10.1.1.1 : 0x0000000b }\n\t}\n}\n";
    assert_eq!(
        parse_elements(text),
        [
            "0x00000002 . 10.1.1.1 : 0x0000000a",
            "0x00000003 . 10.1.1.1 : 0x0000000b"
        ]
    );
    assert!(parse_elements("table ip t {\n\tset a {\n\t}\n}").is_empty());
}
