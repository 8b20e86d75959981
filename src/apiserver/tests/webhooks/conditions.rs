//! Conditions in CEL.

use super::*;

#[tokio::test]
async fn match_conditions_decide_who_is_asked() {
    let f = fixture().await;
    let hook = Hook::start(|_, review| no(review, "seen")).await;
    let conditions = |list: &[(&str, &str)]| {
        let list: Vec<Value> = list
            .iter()
            .map(|(name, e)| json!({"name": name, "expression": e}))
            .collect();
        json!({"matchConditions": list})
    };
    let mut ignored = conditions(&[("missing", "object.data.missing == 'x'")]);
    ignored["failurePolicy"] = json!("Ignore");
    let cases = [
        (
            conditions(&[
                ("is-a", "object.metadata.name == 'a'"),
                ("made", "request.operation == 'CREATE' && oldObject == null"),
            ]),
            400,
            "seen",
        ),
        (conditions(&[("is-b", "object.metadata.name == 'b'")]), 201, ""),
        (
            conditions(&[(
                "user",
                "!request.userInfo.groups.exists(g, g == 'system:masters')",
            )]),
            201,
            "",
        ),
        (
            conditions(&[(
                "may",
                "authorizer.group('').resource('pods').namespace('default').check('get').allowed()",
            )]),
            400,
            "seen",
        ),
        (
            conditions(&[("missing", "object.data.missing == 'x'")]),
            403,
            "resulted in error: no such key: missing",
        ),
        (
            conditions(&[("missing", "object.data.missing == 'x'"), ("no", "false")]),
            201,
            "",
        ),
        (ignored, 201, ""),
    ];
    for (more, code, words) in cases {
        let hooks = json!([webhook(
            "v.example.com",
            hook.by_url("/"),
            rule(&["*"], "", "v1", "configmaps"),
            more.clone()
        )]);
        configure(&f, "validating", "v", hooks).await;
        let (got, answer) = f
            .send("POST", &format!("{MAPS}?dryRun=All"), config_map("a"))
            .await;
        assert_eq!(got.as_u16(), code, "{more}: {answer}");
        assert!(message(&answer).contains(words), "{answer}");
        f.send(
            "DELETE",
            &format!("{CONFIGS}/validatingwebhookconfigurations/v"),
            Value::Null,
        )
        .await;
    }
    for kind in ["Validating", "Mutating"] {
        let bad = conditions(&[("a", "object.spec ="), ("a", "'text'"), ("", "true")]);
        let hooks = json!([webhook(
            "v.example.com",
            hook.by_url("/"),
            rule(&["*"], "", "v1", "configmaps"),
            bad
        )]);
        let object = json!({"metadata": {"name": "bad"}, "webhooks": hooks});
        let uri = format!("{CONFIGS}/{}webhookconfigurations", kind.to_lowercase());
        let (code, answer) = f.send("POST", &uri, object).await;
        assert_eq!(code, 422, "{answer}");
        for words in [
            format!("{kind}WebhookConfiguration.admissionregistration.k8s.io \"bad\" is invalid"),
            "webhooks[0].matchConditions[0].expression: Invalid value: \"object.spec =\": compilation failed: ERROR: <input>:1:".into(),
            "webhooks[0].matchConditions[1].expression: Invalid value: \"'text'\": must evaluate to bool".into(),
            "webhooks[0].matchConditions[1].name: Duplicate value: \"a\"".into(),
            "webhooks[0].matchConditions[2].name: Required value".into(),
        ] {
            assert!(message(&answer).contains(&words), "{words}: {answer}");
        }
    }
}
