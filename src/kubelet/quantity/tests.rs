use super::*;

#[test]
fn parses_what_the_api_allows() {
    for (text, want_value, want_milli) in [
        ("1", 1, 1000),
        ("100m", 1, 100),
        ("1.5", 2, 1500),
        ("128Mi", 128 << 20, 128_000 << 20),
        ("1Gi", 1 << 30, 1000 << 30),
        ("1e3", 1000, 1_000_000),
        ("2k", 2000, 2_000_000),
        ("0", 0, 0),
        ("1n", 1, 1),
        ("-1", -1, -1000),
    ] {
        let q = Quantity(text.into());
        assert_eq!((value(&q), milli(&q)), (want_value, want_milli), "{text}");
    }
    for bad in ["", "x", "1Zi", "1..2"] {
        assert_eq!(nano(bad), None, "{bad}");
    }
}
