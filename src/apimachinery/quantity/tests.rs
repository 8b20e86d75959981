use super::*;

#[test]
fn canonical_texts() {
    let table = [
        ("0", "0"),
        ("0Gi", "0"),
        ("1", "1"),
        ("1000m", "1"),
        ("1500m", "1500m"),
        ("0.5", "500m"),
        (".5", "500m"),
        ("5.", "5"),
        ("100m", "100m"),
        ("1000", "1k"),
        ("1024", "1024"),
        ("100000", "100k"),
        ("1e3", "1e3"),
        ("1E3", "1e3"),
        ("1e-3", "1e-3"),
        ("123e4", "1230e3"),
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("0.5Ki", "512"),
        ("0.1Ki", "102400m"),
        ("1Ki", "1Ki"),
        ("2048", "2048"),
        ("128974848", "128974848"),
        ("129M", "129M"),
        ("-1.5", "-1500m"),
        ("1n", "1n"),
        ("0.1n", "1n"),
        ("12.0000000001", "12000000001n"),
        ("1Ei", "1Ei"),
        ("9223372036854775807", "9223372036854775807"),
        ("100E", "9223372036854775807"),
        ("+3", "3"),
    ];
    for (s, want) in table {
        assert_eq!(
            Quantity::parse(s)
                .unwrap_or_else(|e| panic!("{s}: {e}"))
                .to_string(),
            want,
            "{s}"
        );
    }
}

#[test]
fn errors_are_upstreams() {
    let table = [
        ("", ParseError::Format),
        ("abc", ParseError::Format),
        ("1z", ParseError::Format),
        ("1ki", ParseError::Suffix),
        ("1K", ParseError::Suffix),
        ("1mm", ParseError::Suffix),
        ("1e", ParseError::Suffix),
        ("1.2.3", ParseError::Numeric),
        (".", ParseError::Format),
        ("1 ", ParseError::Format),
    ];
    for (s, want) in table {
        assert_eq!(Quantity::parse(s).unwrap_err(), want, "{s}");
    }
}

#[test]
fn rounding_and_arithmetic() {
    let q = |s: &str| Quantity::parse(s).unwrap();
    assert_eq!(q("1500m").value(), 2);
    assert_eq!(q("-1500m").value(), -2);
    assert_eq!(q("1.0001").milli(), 1001);
    assert_eq!(q("1Gi").value(), 1 << 30);
    assert_eq!(q("250m").milli(), 250);
    assert_eq!((q("1Gi") + q("1Gi")).to_string(), "2Gi");
    assert_eq!((Quantity::ZERO + q("1Gi")).to_string(), "1Gi");
    assert_eq!((q("2") - q("500m")).to_string(), "1500m");
    assert_eq!(q("1000m"), q("1"));
    assert!(q("1Ki") > q("1k"));
    assert_eq!(Quantity::from_units(1 << 20, Format::BinarySi).to_string(), "1Mi");
    assert_eq!(canonical(&serde_json::json!(2)).unwrap(), "2");
    assert_eq!(canonical(&serde_json::json!(0.5)).unwrap(), "500m");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]

    /// Printing loses nothing and is stable.
    #[test]
    fn canonical_text_is_the_amount(
        n in -1_000_000_000_i64..1_000_000_000,
        fraction in proptest::option::of(0_u32..1_000_000),
        suffix in proptest::sample::select(vec!["", "n", "u", "m", "k", "M", "G", "Ki", "Mi", "Gi", "e3", "e-3", "E2"]),
    ) {
        let text = match fraction {
            Some(f) => format!("{n}.{f:06}{suffix}"),
            None => format!("{n}{suffix}"),
        };
        let q = Quantity::parse(&text).unwrap();
        let printed = q.to_string();
        let again = Quantity::parse(&printed).unwrap();
        proptest::prop_assert_eq!(again, q, "{} prints {}", text, printed);
        proptest::prop_assert_eq!(again.to_string(), printed);
    }

    /// No text makes it panic.
    #[test]
    fn any_text_is_answered(s in "[-+0-9.eEinumkKMGTP]{0,40}") {
        if let Ok(q) = Quantity::parse(&s) {
            proptest::prop_assert!(Quantity::parse(&q.to_string()).is_ok());
        }
    }
}
