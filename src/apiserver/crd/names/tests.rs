use super::*;

fn definition(plural: &str, kind: &str, short: &[&str]) -> Value {
    json!({"metadata": {"name": format!("{plural}.example.com")}, "spec": {"group": "example.com",
        "names": {"plural": plural, "singular": kind.to_lowercase(), "kind": kind,
            "listKind": format!("{kind}List"), "shortNames": short}}})
}

fn condition<'a>(status: &'a Value, kind: &str) -> &'a Value {
    status["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .find(|c| c["type"] == kind)
        .unwrap()
}

#[test]
fn free_names_are_granted_and_stay_so() {
    let mut first = definition("widgets", "Widget", &["wd"]);
    let status = plan(&first, &Claimed::default(), "t0").unwrap();
    assert_eq!(status["acceptedNames"], first["spec"]["names"]);
    assert_eq!(condition(&status, "NamesAccepted")["reason"], "NoConflicts");
    assert_eq!(
        condition(&status, "Established")["reason"],
        "InitialNamesAccepted"
    );
    first["status"] = status;
    let mut claimed = Claimed::default();
    claimed.add(&first);
    assert_eq!(plan(&first, &claimed, "t1"), None);
}

#[test]
fn who_comes_second_gets_what_is_left() {
    let mut first = definition("widgets", "Widget", &["wd"]);
    first["status"] = plan(&first, &Claimed::default(), "t0").unwrap();
    let mut claimed = Claimed::default();
    claimed.add(&first);
    for (second, reason, message) in [
        (
            definition("others", "Widget", &[]),
            "ListKindConflict",
            "\"WidgetList\" is already in use",
        ),
        (
            definition("others", "Other", &["wd", "widget"]),
            "ShortNamesConflict",
            "[\"wd\" is already in use, \"widget\" is already in use]",
        ),
    ] {
        let status = plan(&second, &claimed, "t1").unwrap();
        let accepted = condition(&status, "NamesAccepted");
        assert_eq!(
            (&accepted["status"], &accepted["reason"], &accepted["message"]),
            (&json!("False"), &json!(reason), &json!(message))
        );
        assert_eq!(condition(&status, "Established")["status"], "False");
        assert_eq!(status["acceptedNames"]["plural"], "others");
    }
}

#[test]
fn an_established_definition_stays_so_when_a_new_name_is_taken() {
    let mut first = definition("widgets", "Widget", &["wd"]);
    first["status"] = plan(&first, &Claimed::default(), "t0").unwrap();
    let mut second = definition("gadgets", "Gadget", &[]);
    second["status"] = plan(&second, &Claimed::default(), "t0").unwrap();
    let mut claimed = Claimed::default();
    claimed.add(&first);
    claimed.add(&second);
    second["spec"]["names"]["shortNames"] = json!(["wd"]);
    let status = plan(&second, &claimed, "t1").unwrap();
    assert_eq!(condition(&status, "NamesAccepted")["status"], "False");
    assert_eq!(condition(&status, "NamesAccepted")["lastTransitionTime"], "t1");
    assert_eq!(condition(&status, "Established")["status"], "True");
}

#[test]
fn groups_of_kubernetes_need_approval() {
    let mut own = definition("widgets", "Widget", &[]);
    own["spec"]["group"] = json!("widgets.k8s.io");
    own["metadata"]["annotations"] = json!({APPROVAL: "unapproved, testing"});
    let status = plan(&own, &Claimed::default(), "t0").unwrap();
    let told = condition(&status, "KubernetesAPIApprovalPolicyConformant");
    assert_eq!(told["reason"], "UnapprovedAnnotation");
}
