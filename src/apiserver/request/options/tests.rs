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
    let error = ListOptions::parse(Some("sendInitialEvents=true"), &pods(), true).unwrap_err();
    assert_eq!(error.code, 422);
    let error = ListOptions::parse(Some("resourceVersionMatch=Exact"), &pods(), false).unwrap_err();
    assert_eq!(error.code, 422);
}

#[test]
fn write_options() {
    let options = WriteOptions::parse(Some("dryRun=All"), "kubectl/v1.32 (linux)", "CreateOptions").unwrap();
    assert!(options.dry_run);
    assert_eq!(options.field_manager, "kubectl");
    assert_eq!(
        WriteOptions::parse(Some("dryRun=x"), "", "CreateOptions")
            .unwrap_err()
            .code,
        422
    );
    assert_eq!(
        WriteOptions::parse(Some("fieldValidation=x"), "", "CreateOptions")
            .unwrap_err()
            .code,
        422
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
