use super::*;

fn query(text: &str) -> StreamOptions {
    let pairs: Vec<_> = text
        .split('&')
        .filter_map(|p| p.split_once('='))
        .map(|(k, v)| (k.to_string(), v.to_string()))
        .collect();
    StreamOptions::parse(&pairs)
}

#[test]
fn both_spellings() {
    assert_eq!(
        query("input=1&output=1&error=1"),
        query("stdin=true&stdout=true&stderr=true")
    );
    let tty = query("input=1&output=1&error=1&tty=1");
    assert!(tty.tty && !tty.stderr);
    assert_eq!(
        tty.channels(),
        [(3, "error"), (0, "stdin"), (1, "stdout"), (4, "resize")]
    );
}
