use serde_json::json;

use super::*;

fn ls(s: &str) -> LabelSelector {
    LabelSelector::parse(s).unwrap_or_else(|e| panic!("{s}: {e}"))
}

#[test]
fn label_matching() {
    let labels = json!({"app": "web", "tier": "a", "n": "5", "empty": ""});
    let table = [
        ("", true),
        ("app=web", true),
        ("app==web", true),
        ("app = web , tier=a", true),
        ("app!=web", false),
        ("none!=web", true),
        ("app in (web, db)", true),
        ("app in (db)", false),
        ("app notin (db),tier", true),
        ("none notin (db)", true),
        ("app", true),
        ("!app", false),
        ("!none", true),
        ("n>4", true),
        ("n<5", false),
        ("app>1", false),
        ("empty=", true),
        ("empty in (,x)", true),
        ("in in (a)", false),
        ("notin", false),
    ];
    for (s, want) in table {
        assert_eq!(ls(s).matches(labels.as_object()), want, "{s}");
    }
    assert!(ls("").matches(None));
    assert!(!LabelSelector::nothing().matches(None));
}

#[test]
fn empty_brackets_hold_one_empty_value() {
    let selector = LabelSelector::parse("a in ()").unwrap();
    assert!(selector.matches_by(|_| Some("")));
    assert!(!selector.matches_by(|_| Some("x")));
}

#[test]
fn a_field_term_of_nothing_chooses_everything() {
    for text in ["=", ",", "!="] {
        assert!(FieldSelector::parse(text).unwrap().is_everything(), "{text}");
    }
}

#[test]
fn label_errors_are_upstreams() {
    let table = [
        ("a=b=c", "found '=', expected: ',' or 'end of string'"),
        ("a,", "found '', expected: identifier after ','"),
        ("=x", "found '=', expected: !, identifier, or 'end of string'"),
        ("a in", "unable to parse requirement: found '' expected: '('"),
        (
            "a in (b",
            "unable to parse requirement: found '', expected: ',' or ')'",
        ),
        (
            "a b",
            "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt",
        ),
        (
            "n>x",
            "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must be an integer",
        ),
    ];
    for (s, want) in table {
        assert_eq!(LabelSelector::parse(s).unwrap_err().to_string(), want, "{s}");
    }
    let e = LabelSelector::parse("a_=b").unwrap_err().to_string();
    assert!(
        e.starts_with("unable to parse requirement: <nil>: Invalid value: \"a_\": name part must"),
        "{e}"
    );
}

#[test]
fn label_printing_sorts() {
    assert_eq!(ls("b in (y,x),a=1,!c,d").to_string(), "a=1,b in (x,y),!c,d");
}

#[test]
fn meta_selectors() {
    let s = LabelSelector::from_meta(&json!({
        "matchLabels": {"app": "web"},
        "matchExpressions": [{"key": "tier", "operator": "In", "values": ["a", "b"]}, {"key": "x", "operator": "DoesNotExist"}],
    }))
    .unwrap();
    assert!(s.matches(json!({"app": "web", "tier": "b"}).as_object()));
    assert!(!s.matches(json!({"app": "web", "tier": "b", "x": ""}).as_object()));
    assert!(!LabelSelector::from_meta(&json!(null)).unwrap().matches(None));
    assert!(LabelSelector::from_meta(&json!({})).unwrap().matches(None));
    let e =
        LabelSelector::from_meta(&json!({"matchExpressions": [{"key": "a", "operator": "Is"}]})).unwrap_err();
    assert_eq!(e.to_string(), "\"Is\" is not a valid label selector operator");
    assert!(!LabelSelector::from_map(&json!({})).matches(None));
}

#[test]
fn field_selection() {
    let pod = json!({"metadata": {"name": "a", "namespace": "d"}, "spec": {"nodeName": "n1"}, "status": {"phase": "Running"}});
    let table = [
        ("", true),
        ("spec.nodeName=n1", true),
        ("spec.host==n1", true),
        ("spec.nodeName!=n1", false),
        ("metadata.name=a,status.phase=Running", true),
        ("spec.hostNetwork=false", true),
        ("status.podIP=", true),
    ];
    for (s, want) in table {
        let f = FieldSelector::parse(s).unwrap().check("", "Pod").unwrap();
        assert_eq!(f.matches("", "Pod", &pod), want, "{s}");
    }
    let f = FieldSelector::parse("metadata.name=a\\,b").unwrap();
    assert_eq!(f.exact("metadata.name"), Some("a,b"));
    assert_eq!(f.to_string(), "metadata.name=a\\,b");
}

#[test]
fn field_errors_are_upstreams() {
    let e = |s: &str, g: &str, k: &str| {
        FieldSelector::parse(s)
            .and_then(|f| f.check(g, k))
            .unwrap_err()
            .to_string()
    };
    assert_eq!(e("x=y", "", "Pod"), "field label not supported: x");
    assert_eq!(
        e("x=y", "", "ConfigMap"),
        "\"x\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
    );
    assert_eq!(
        e("x=y", "apps", "Deployment"),
        "field label \"x\" not supported for appsv1.Deployment"
    );
    assert_eq!(
        e("abc", "", "Pod"),
        "invalid selector: 'abc'; can't understand 'abc'"
    );
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]

    /// What a selector prints means the same.
    #[test]
    fn printed_selectors_parse_to_themselves(
        terms in proptest::collection::vec(
            proptest::sample::select(vec!["a=b", "c!=d", "e", "!f", "g in (x,y)", "h notin (z)", "i>3", "j<9", "k==l", "m in (,n)"]),
            0..5,
        ),
    ) {
        let s = ls(&terms.join(","));
        proptest::prop_assert_eq!(ls(&s.to_string()), s);
    }

    /// No text makes either parser panic.
    #[test]
    fn any_text_is_answered(s in "[a-c=!<>(), \\\\in\u{e9}]{0,30}") {
        let _ = LabelSelector::parse(&s);
        let _ = FieldSelector::parse(&s);
    }
}
