use super::*;

#[test]
fn paths_print_as_upstream() {
    let p = Path::new("spec")
        .child("containers")
        .index(0)
        .child("env")
        .key("A b");
    assert_eq!(p.to_string(), "spec.containers[0].env[A b]");
    assert_eq!(Path::root().child("data").as_str(), "data");
}

#[test]
fn errors_print_as_upstream() {
    let p = Path::new("spec").child("x");
    let table = [
        (Error::required(&p, ""), "spec.x: Required value"),
        (Error::required(&p, "why"), "spec.x: Required value: why"),
        (
            Error::invalid(&p, "a\"b", "no"),
            "spec.x: Invalid value: \"a\\\"b\": no",
        ),
        (
            Error::invalid(&p, -1, "must be greater than or equal to 0"),
            "spec.x: Invalid value: -1: must be greater than or equal to 0",
        ),
        (
            Error::invalid(&p, Value::Null, "no"),
            "spec.x: Invalid value: null: no",
        ),
        (Error::duplicate(&p, "a"), "spec.x: Duplicate value: \"a\""),
        (Error::not_found(&p, "v"), "spec.x: Not found: \"v\""),
        (Error::forbidden(&p, "not now"), "spec.x: Forbidden: not now"),
        (
            Error::not_supported(&p, "z", &["Always", "Never"]),
            "spec.x: Unsupported value: \"z\": supported values: \"Always\", \"Never\"",
        ),
        (
            Error::too_long(&p, 63),
            "spec.x: Too long: may not be more than 63 bytes",
        ),
        (
            Error::too_many(&p, 9, 8),
            "spec.x: Too many: 9: must have at most 8 items",
        ),
    ];
    for (e, want) in table {
        assert_eq!(e.to_string(), want);
    }
}

#[test]
fn lists_join_without_repetition() {
    let p = Path::new("a");
    let mut l = ErrorList::new();
    l.push(Error::required(&p, ""));
    assert_eq!(l.to_string(), "a: Required value");
    l.push(Error::required(&p, ""));
    assert_eq!(l.to_string(), "a: Required value");
    l.push(Error::forbidden(&p, "b"));
    assert_eq!(l.to_string(), "[a: Required value, a: Forbidden: b]");
}
