use super::*;
use serde_json::json;

fn pods() -> Def {
    rkind_apimachinery::resources::find("", "v1", "pods")
        .unwrap()
        .into()
}

#[test]
fn list_options() {
    let query = "labelSelector=app%3Dweb&fieldSelector=spec.nodeName%3Dn1&limit=5&resourceVersion=7";
    let options = ListOptions::parse(Some(query), &pods(), false).unwrap();
    assert_eq!((options.limit, options.version().unwrap()), (5, 7));
    assert!(!options.selector.is_everything());

    let error = ListOptions::parse(Some("fieldSelector=spec.x%3D1"), &pods(), false).unwrap_err();
    assert_eq!(
        (error.code, error.message.as_str()),
        (400, "field label not supported: spec.x")
    );
}

#[test]
fn combinations_of_list_options_are_refused_as_upstream_does() {
    const UNLESS: &str = "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided";
    const WITH_CONTINUE: &str =
        "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden when continue is provided";
    const INITIAL: &str = "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
    const WATCH: &str = "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
    let unknown =
        "resourceVersionMatch: Unsupported value: \"x\": supported values: \"Exact\", \"NotOlderThan\", \"\"";
    let only = |value: &str| {
        format!("resourceVersionMatch: Unsupported value: {value:?}: supported values: \"NotOlderThan\"")
    };
    let (exact, x) = (only("Exact"), only("x"));
    for (watch, query, found) in [
        (false, "resourceVersionMatch=Exact", vec![UNLESS]),
        (false, "resourceVersionMatch=x", vec![UNLESS, unknown]),
        (
            false,
            "resourceVersionMatch=x&continue=c",
            vec![UNLESS, WITH_CONTINUE, unknown],
        ),
        (
            false,
            "resourceVersionMatch=Exact&resourceVersion=0",
            vec![
                "resourceVersionMatch: Forbidden: resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
            ],
        ),
        (
            false,
            "sendInitialEvents=true",
            vec!["sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list"],
        ),
        (true, "sendInitialEvents=true", vec![INITIAL]),
        (
            true,
            "sendInitialEvents=false&resourceVersionMatch=Exact",
            vec![INITIAL, &exact],
        ),
        (true, "resourceVersionMatch=x", vec![WATCH, &x]),
        (true, "continue=c", vec![WITH_CONTINUE]),
        (false, "limit=-1", vec![]),
        (
            true,
            "sendInitialEvents=true&resourceVersionMatch=NotOlderThan",
            vec![],
        ),
    ] {
        let answer = ListOptions::parse(Some(query), &pods(), watch);
        let told = match &found[..] {
            [] => {
                assert!(answer.is_ok(), "{query}: {answer:?}");
                continue;
            }
            [one] => (*one).to_owned(),
            many => format!("[{}]", many.join(", ")),
        };
        let status = answer.unwrap_err();
        let message = format!("ListOptions.meta.k8s.io \"\" is invalid: {told}");
        assert_eq!((status.code, status.message), (422, message), "{query}");
    }
}

#[test]
fn of_a_repeated_parameter_the_first_counts() {
    let options = ListOptions::parse(Some("limit=2&limit=3"), &pods(), false).unwrap();
    assert_eq!(options.limit, 2);
}

#[test]
fn a_watch_without_a_beginning_gets_what_is_there() {
    for (query, initial) in [
        ("", Some(true)),
        ("resourceVersion=0", Some(true)),
        ("resourceVersion=5", None),
        (
            "sendInitialEvents=false&resourceVersionMatch=NotOlderThan",
            Some(false),
        ),
    ] {
        let options = ListOptions::parse(Some(query), &pods(), true).unwrap();
        assert_eq!(options.send_initial_events, initial, "{query}");
    }
}

/// Authorization reads the first of them: what is listed must be what it allowed.
#[test]
fn the_first_of_an_option_counts() {
    let query = "fieldSelector=metadata.name%3Dmine&fieldSelector=&labelSelector=a%3Db&labelSelector=&limit=1&limit=2";
    let options = ListOptions::parse(Some(query), &pods(), false).unwrap();
    assert_eq!(options.selector.fields.exact("metadata.name"), Some("mine"));
    assert!(!options.selector.labels.is_everything());
    assert_eq!(options.limit, 1);
    let options = WriteOptions::parse(
        Some("fieldManager=a&fieldManager=b&dryRun=All"),
        "",
        "CreateOptions",
    );
    let options = options.unwrap();
    assert_eq!((options.field_manager.as_str(), options.dry_run), ("a", true));
}

#[test]
fn write_options() {
    let options = WriteOptions::parse(Some("dryRun=All"), "kubectl/v1.32 (linux)", "CreateOptions").unwrap();
    assert!(options.dry_run);
    assert_eq!(options.field_manager, "kubectl");
}

#[test]
fn write_options_are_refused_as_upstream_does() {
    let named = "is invalid: ";
    for (kind, query, message) in [
        (
            "CreateOptions",
            "dryRun=x",
            "CreateOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: [\"x\"]: supported values: \"All\"",
        ),
        // What was meant as a trial is never done.
        (
            "CreateOptions",
            "dryRun=",
            "dryRun: Unsupported value: [\"\"]: supported values: \"All\"",
        ),
        (
            "CreateOptions",
            "dryRun=All&dryRun=x",
            "dryRun: Unsupported value: [\"All\",\"x\"]: supported values: \"All\"",
        ),
        (
            "UpdateOptions",
            "fieldValidation=x",
            "fieldValidation: Unsupported value: \"x\": supported values: \"\", \"Ignore\", \"Strict\", \"Warn\"",
        ),
        (
            "UpdateOptions",
            "fieldManager=a%01",
            "fieldManager: Invalid value: \"a\\x01\": invalid character U+0001 (at position 1)",
        ),
        (
            PATCH_OPTIONS,
            "force=false",
            "force: Forbidden: may not be specified for non-apply patch",
        ),
        (
            APPLY_OPTIONS,
            "force=true",
            "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch",
        ),
    ] {
        let status = WriteOptions::parse(Some(query), "kubectl/v1", kind).unwrap_err();
        assert_eq!(status.code, 422, "{query}");
        assert!(status.message.contains(named), "{}", status.message);
        assert!(status.message.ends_with(message), "{query}: {}", status.message);
    }
    assert!(
        WriteOptions::parse(Some("force=true&fieldManager=m"), "", APPLY_OPTIONS)
            .unwrap()
            .force
    );
}

#[test]
fn delete_options_from_body() {
    let body = json!({"kind": "DeleteOptions", "gracePeriodSeconds": 0, "propagationPolicy": "Orphan",
        "preconditions": {"uid": "u"}});
    let options = DeleteOptions::parse(Some("gracePeriodSeconds=5"), Some(&body)).unwrap();
    assert_eq!(options.grace_period_seconds, Some(0));
    assert_eq!(options.propagation, Some(Propagation::Orphan));
    assert_eq!(options.precondition_uid.as_deref(), Some("u"));
    let body = json!({"propagationPolicy": "Sometimes"});
    assert_eq!(DeleteOptions::parse(None, Some(&body)).unwrap_err().code, 422);
}
