use super::*;

#[test]
fn queries_are_decoded() {
    let query = parse_query("command=sh&command=-c&command=echo%20a+b&tty=1&x");
    let want = [
        ("command", "sh"),
        ("command", "-c"),
        ("command", "echo a b"),
        ("tty", "1"),
        ("x", ""),
    ];
    assert_eq!(query, want.map(|(k, v)| (k.to_string(), v.to_string())));
}

#[test]
fn nonsense_is_no_certificate() {
    assert!(!is_allowed(b"nonsense"));
}
