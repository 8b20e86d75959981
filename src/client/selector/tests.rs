use super::*;

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(k, v)| (k.to_string(), v.to_string()))
        .collect()
}

#[test]
fn string_form_parses_matches_and_prints() {
    let web = labels(&[("app", "web"), ("tier", "a")]);
    for (text, matched, printed) in [
        ("", true, ""),
        ("app=web", true, "app=web"),
        ("app==web", true, "app=web"),
        ("app!=web", false, "app!=web"),
        ("other!=web", true, "other!=web"),
        ("tier in (a, b),app", true, "tier in (a,b),app"),
        ("tier notin (a)", false, "tier!=a"),
        ("!app", false, "!app"),
        ("!legacy", true, "!legacy"),
    ] {
        let selector = Selector::parse(text).unwrap();
        assert_eq!(selector.matches(Some(&web)), matched, "{text}");
        assert_eq!(selector.to_string(), printed);
    }
    for bad in ["a b", "a in b", "a near (b)", "=x"] {
        assert!(Selector::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn absent_selects_nothing_and_empty_selects_all() {
    assert!(!Selector::from_api(None).unwrap().matches(None));
    let all = Selector::from_api(Some(&LabelSelector::default())).unwrap();
    assert!(all.is_everything() && all.matches(None));
}

#[test]
fn api_form_checks_operators() {
    let selector = |operator: &str, values: Option<Vec<&str>>| {
        let api: LabelSelector = serde_json::from_value(serde_json::json!({
            "matchLabels": {"app": "web"},
            "matchExpressions": [{"key": "tier", "operator": operator, "values": values}],
        }))
        .unwrap();
        Selector::from_api(Some(&api))
    };
    let web = labels(&[("app", "web"), ("tier", "a")]);
    assert!(selector("In", Some(vec!["a"])).unwrap().matches(Some(&web)));
    assert!(!selector("NotIn", Some(vec!["a"])).unwrap().matches(Some(&web)));
    assert!(selector("Exists", None).unwrap().matches(Some(&web)));
    assert!(!selector("DoesNotExist", None).unwrap().matches(Some(&web)));
    assert_eq!(
        selector("Near", None),
        Err(SelectorError::Operator("Near".into()))
    );
    assert!(selector("In", None).is_err());
}
