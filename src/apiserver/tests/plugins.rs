//! Plugins: which run, and what single ones refuse.

use super::*;
use crate::admission::PluginError;

const PODS: &str = "/api/v1/namespaces/default/pods";
const CLASSES: &str = "/apis/scheduling.k8s.io/v1/priorityclasses";
const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";

async fn with(on: &[&str], off: &[&str]) -> Fixture {
    let names = |all: &[&str]| all.iter().map(|name| (*name).to_owned()).collect();
    fixture_of(|options| {
        options.features.admission.enable_admission_plugins = names(on);
        options.features.admission.disable_admission_plugins = names(off);
    })
    .await
}

async fn account(f: &Fixture, more: Value) {
    let mut account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
    for (key, value) in more.as_object().unwrap() {
        account[key] = value.clone();
    }
    if let Some(annotations) = more.get("annotations") {
        account["metadata"]["annotations"] = annotations.clone();
        account.as_object_mut().unwrap().remove("annotations");
    }
    let uri = "/api/v1/namespaces/default/serviceaccounts";
    let (code, answer) = f.send("POST", uri, account).await;
    assert_eq!(code, StatusCode::CREATED, "{answer}");
}

fn message(answer: &Value) -> &str {
    answer["message"].as_str().unwrap_or_default()
}

#[test]
fn plugins_have_upstreams_names() {
    let chosen = |on: &[&str], off: &[&str]| {
        let names = |all: &[&str]| all.iter().map(|name| (*name).to_owned()).collect();
        let options = crate::options::Admission {
            enable_admission_plugins: names(on),
            disable_admission_plugins: names(off),
            ..Default::default()
        };
        crate::admission::Chain::chosen(&options).map(|_| ())
    };
    // kube-apiserver's own list, whatever it says of each.
    let all = [
        "AlwaysAdmit",
        "NamespaceAutoProvision",
        "NamespaceLifecycle",
        "NamespaceExists",
        "LimitPodHardAntiAffinityTopology",
        "LimitRanger",
        "ServiceAccount",
        "NodeRestriction",
        "TaintNodesByCondition",
        "AlwaysPullImages",
        "ImagePolicyWebhook",
        "PodSecurity",
        "PodNodeSelector",
        "Priority",
        "DefaultTolerationSeconds",
        "PodTolerationRestriction",
        "EventRateLimit",
        "ExtendedResourceToleration",
        "DefaultStorageClass",
        "StorageObjectInUseProtection",
        "OwnerReferencesPermissionEnforcement",
        "PersistentVolumeClaimResize",
        "RuntimeClass",
        "CertificateApproval",
        "CertificateSigning",
        "ClusterTrustBundleAttest",
        "CertificateSubjectRestriction",
        "DefaultIngressClass",
        "DenyServiceExternalIPs",
        "PodTopologyLabels",
        "NodeDeclaredFeatureValidator",
        "MutatingAdmissionPolicy",
        "MutatingAdmissionWebhook",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionWebhook",
        "ResourceQuota",
        "AlwaysDeny",
    ];
    assert_eq!(chosen(&[], &all), Ok(()));
    assert_eq!(chosen(&["AlwaysPullImages", "NodeRestriction"], &[]), Ok(()));
    // What upstream has no plugin for is not left out, and what is not here does not seem to run.
    for name in ["RBACEscalation", "Imaginary", "SecurityContextDeny"] {
        assert_eq!(chosen(&[], &[name]), Err(PluginError::Unknown(name.to_owned())));
    }
    let absent = "NodeDeclaredFeatureValidator";
    assert_eq!(
        chosen(&[absent], &[]),
        Err(PluginError::NotServed(absent.to_owned()))
    );
    // These do nothing without a configuration.
    let configured = ["EventRateLimit", "ImagePolicyWebhook"];
    let served: Vec<&str> = all
        .iter()
        .copied()
        .filter(|name| *name != absent && !configured.contains(name))
        .collect();
    assert_eq!(chosen(&served, &[]), Ok(()));
}

#[tokio::test]
async fn plugins_that_are_asked_for_run() {
    let f = with(&["AlwaysPullImages", "DenyServiceExternalIPs"], &[]).await;
    account(&f, json!({})).await;
    let mut wanted = pod("p");
    wanted["spec"]["containers"][0]["imagePullPolicy"] = json!("Never");
    let (code, made) = f.send("POST", PODS, wanted).await;
    assert_eq!(code, StatusCode::CREATED, "{made}");
    assert_eq!(made["spec"]["containers"][0]["imagePullPolicy"], "Always");
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"},
        "spec": {"ports": [{"port": 80}], "externalIPs": ["192.0.2.7"]}});
    let services = "/api/v1/namespaces/default/services";
    let (code, answer) = f.send("POST", services, service.clone()).await;
    assert_eq!(code, StatusCode::FORBIDDEN, "{answer}");
    assert_eq!(
        message(&answer),
        "services \"s\" is forbidden: Use of external IPs is denied by admission control"
    );

    // And otherwise they do not.
    let f = fixture().await;
    let (code, answer) = f.send("POST", services, service).await;
    assert_eq!(code, StatusCode::CREATED, "{answer}");
}

#[tokio::test]
async fn a_pod_does_not_contradict_its_class_and_one_class_is_the_default() {
    let f = fixture().await;
    account(&f, json!({})).await;
    let class = |name: &str, default: bool| {
        json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name},
            "value": 1000, "preemptionPolicy": "Never", "globalDefault": default})
    };
    let (code, answer) = f.send("POST", CLASSES, class("high", true)).await;
    assert_eq!(code, StatusCode::CREATED, "{answer}");
    let mut contrary = pod("p");
    contrary["spec"]["priorityClassName"] = json!("high");
    contrary["spec"]["preemptionPolicy"] = json!("PreemptLowerPriority");
    let (code, answer) = f.send("POST", PODS, contrary).await;
    assert_eq!(code, StatusCode::FORBIDDEN, "{answer}");
    assert_eq!(
        message(&answer),
        "pods \"p\" is forbidden: the string value of PreemptionPolicy (PreemptLowerPriority) must not be provided in pod spec; priority admission controller computed Never from the given PriorityClass name"
    );
    let (code, answer) = f.send("POST", CLASSES, class("other", true)).await;
    assert_eq!(code, StatusCode::FORBIDDEN, "{answer}");
    assert_eq!(
        message(&answer),
        "priorityclasses.scheduling.k8s.io \"other\" is forbidden: PriorityClass high is already marked as default. Only one default can exist"
    );
    let (code, answer) = f
        .send("PUT", &format!("{CLASSES}/high"), class("high", true))
        .await;
    assert_eq!(
        code,
        StatusCode::OK,
        "the default itself may be written: {answer}"
    );

    // An update need not repeat what the class gave.
    let (code, made) = f.send("POST", PODS, pod("q")).await;
    assert_eq!(code, StatusCode::CREATED, "{made}");
    let mut again = made.clone();
    for field in ["priority", "preemptionPolicy"] {
        again["spec"].as_object_mut().unwrap().remove(field);
    }
    let (code, answer) = f.send("PUT", &format!("{PODS}/q"), again).await;
    assert_eq!(code, StatusCode::OK, "{answer}");
    assert_eq!(answer["spec"]["priority"], 1000);
}

#[tokio::test]
async fn mirror_pods_refer_to_nothing_and_accounts_list_their_secrets() {
    let f = fixture().await;
    let annotations = json!({"kubernetes.io/enforce-mountable-secrets": "true"});
    account(
        &f,
        json!({"annotations": annotations, "secrets": [{"name": "listed"}]}),
    )
    .await;
    let of_secret = |name: &str| {
        let mut pod = pod("p");
        pod["spec"]["volumes"] = json!([{"name": "v", "secret": {"secretName": name}}]);
        pod
    };
    let (code, answer) = f.send("POST", PODS, of_secret("other")).await;
    assert_eq!(code, StatusCode::FORBIDDEN, "{answer}");
    assert_eq!(
        message(&answer),
        "pods \"p\" is forbidden: volume with secret.secretName=\"other\" is not allowed because service account default does not reference that secret"
    );
    let (code, answer) = f.send("POST", PODS, of_secret("listed")).await;
    assert_eq!(code, StatusCode::CREATED, "{answer}");

    let token = json!([{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]);
    for (spec, why) in [
        (
            of_secret("listed")["spec"].clone(),
            "a mirror pod may not reference secrets",
        ),
        (
            json!({"containers": pod("p")["spec"]["containers"], "volumes": token}),
            "a mirror pod may not use ServiceAccountToken volume projections",
        ),
    ] {
        let mut mirror = pod("m");
        mirror["spec"] = spec;
        mirror["spec"]["nodeName"] = json!("n");
        mirror["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
        let (code, answer) = f.send("POST", PODS, mirror).await;
        assert_eq!(code, StatusCode::FORBIDDEN, "{answer}");
        assert_eq!(message(&answer), format!("pods \"m\" is forbidden: {why}"));
    }
}

/// A certificate request of nobody in particular, as it is sent.
fn signing_request(name: &str) -> Value {
    use base64::Engine as _;
    let key = rcgen::KeyPair::generate().unwrap();
    let request = rcgen::CertificateParams::new(Vec::new()).unwrap();
    let pem = request.serialize_request(&key).unwrap().pem().unwrap();
    json!({"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": name},
        "spec": {"signerName": "example.com/s", "usages": ["client auth"], "username": "somebody-else",
            "request": base64::engine::general_purpose::STANDARD.encode(pem)}})
}

#[tokio::test]
async fn who_asks_for_a_certificate_is_no_plugins_business() {
    let off = [
        "CertificateSubjectRestriction",
        "CertificateApproval",
        "CertificateSigning",
    ];
    let f = with(&[], &off).await;
    let (code, made) = f.send("POST", REQUESTS, signing_request("c")).await;
    assert_eq!(code, StatusCode::CREATED, "{made}");
    assert_eq!(made["spec"]["username"], "kubernetes-admin");
    assert_eq!(
        made["spec"]["groups"],
        json!(["system:masters", "system:authenticated"])
    );
}

#[tokio::test]
async fn a_status_decides_nothing_and_needs_the_right_to_sign() {
    let f = fixture().await;
    let (code, made) = f.send("POST", REQUESTS, signing_request("c")).await;
    assert_eq!(code, StatusCode::CREATED, "{made}");
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "r"},
        "rules": [{"apiGroups": ["certificates.k8s.io"], "resources": ["certificatesigningrequests/status"], "verbs": ["update"]}]});
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "r"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "r"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "joe"}]});
    for (resource, object) in [("clusterroles", role), ("clusterrolebindings", binding)] {
        let uri = format!("/apis/rbac.authorization.k8s.io/v1/{resource}");
        assert_eq!(f.send("POST", &uri, object).await.0, StatusCode::CREATED);
    }
    let status = format!("{REQUESTS}/c/status");
    let with = |conditions: Value| {
        let mut request = made.clone();
        request["metadata"]
            .as_object_mut()
            .unwrap()
            .remove("resourceVersion");
        request["status"]["conditions"] = conditions;
        request
    };
    let joe = || f.server.in_process(UserInfo::new("joe", &[]));
    let failed = with(json!([{"type": "Failed", "status": "True"}]));
    let (code, answer) = f.send_as(joe(), "PUT", &status, failed.clone(), &[]).await;
    assert_eq!(code, StatusCode::FORBIDDEN, "{answer}");
    assert!(
        message(&answer).ends_with("user not permitted to sign requests with signerName \"example.com/s\""),
        "{answer}"
    );
    // Nor does who may sign approve by it.
    let approved = with(json!([{"type": "Approved", "status": "True"}]));
    let (code, answer) = f.send("PUT", &status, approved.clone()).await;
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY, "{answer}");
    assert!(
        message(&answer)
            .contains("status.conditions: Forbidden: updates may not add a condition of type \"Approved\""),
        "{answer}"
    );
    let (code, answer) = f.send("PUT", &format!("{REQUESTS}/c/approval"), approved).await;
    assert_eq!(code, StatusCode::OK, "{answer}");
    let approval = &answer["status"]["conditions"][0];
    assert!(approval["lastUpdateTime"].is_string() && approval["lastTransitionTime"].is_string());
    let both = with(json!([{"type": "Approved", "status": "True"}, {"type": "Denied", "status": "True"}]));
    let (code, answer) = f.send("PUT", &format!("{REQUESTS}/c/approval"), both).await;
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY, "{answer}");
    assert!(message(&answer).contains("Approved and Denied conditions are mutually exclusive"));
}

#[tokio::test]
async fn a_namespace_that_is_missing_is_made() {
    let f = with(&["NamespaceAutoProvision"], &[]).await;
    let uri = "/api/v1/namespaces/new/configmaps";
    let dry = f
        .send("POST", &format!("{uri}?dryRun=All"), config_map("c"))
        .await;
    assert_eq!(dry.0, StatusCode::NOT_FOUND);
    let (code, answer) = f.send("POST", uri, config_map("c")).await;
    assert_eq!(code, StatusCode::CREATED, "{answer}");
    let namespace = f.get("/api/v1/namespaces/new").await;
    assert_eq!(namespace["status"]["phase"], "Active", "{namespace}");
    assert_eq!(
        namespace["metadata"]["labels"]["kubernetes.io/metadata.name"],
        "new"
    );
}

#[tokio::test]
async fn pods_keep_to_the_annotations_of_their_namespace() {
    let f = with(&["PodNodeSelector", "PodTolerationRestriction"], &[]).await;
    account(&f, json!({})).await;
    let annotate = async |key: &str, value: &str| {
        let mut annotations = json!({});
        annotations[format!("scheduler.alpha.kubernetes.io/{key}")] = json!(value);
        let patch = json!({"metadata": {"annotations": annotations}});
        assert_eq!(
            f.merge("/api/v1/namespaces/default", patch).await.0,
            StatusCode::OK
        );
    };
    annotate("node-selector", "env=test, disk = ssd").await;
    annotate("defaultTolerations", r#"[{"key": "a", "operator": "Exists"}]"#).await;
    let mut wanted = pod("p");
    wanted["spec"]["nodeSelector"] = json!({"own": "1", "env": "test"});
    wanted["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "1m"}});
    let (code, made) = f.send("POST", PODS, wanted.clone()).await;
    assert_eq!(code, StatusCode::CREATED, "{made}");
    assert_eq!(
        made["spec"]["nodeSelector"],
        json!({"own": "1", "env": "test", "disk": "ssd"})
    );
    let tolerations = made["spec"]["tolerations"].as_array().unwrap();
    for one in [
        json!({"key": "a", "operator": "Exists"}),
        json!({"key": "node.kubernetes.io/memory-pressure", "operator": "Exists", "effect": "NoSchedule"}),
    ] {
        assert!(tolerations.contains(&one), "{tolerations:?}");
    }
    let mut contrary = pod("q");
    contrary["spec"]["nodeSelector"] = json!({"env": "live"});
    let (code, answer) = f.send("POST", PODS, contrary).await;
    assert_eq!(code, StatusCode::FORBIDDEN, "{answer}");
    assert_eq!(
        message(&answer),
        "pods \"q\" is forbidden: pod node label selector conflicts with its namespace node label selector"
    );
    annotate("tolerationsWhitelist", r#"[{"key": "b", "operator": "Exists"}]"#).await;
    let (code, answer) = f.send("POST", PODS, pod("q")).await;
    assert_eq!(code, StatusCode::INTERNAL_SERVER_ERROR, "{answer}");
    assert_eq!(
        message(&answer),
        "pod tolerations (possibly merged with namespace default tolerations) conflict with its namespace whitelist"
    );
    annotate("node-selector", "a=b=c").await;
    let (_, answer) = f.send("POST", PODS, pod("q")).await;
    assert_eq!(message(&answer), "invalid selector: [a b c]");
}

#[tokio::test]
async fn who_may_not_finalize_an_owner_holds_nobody_up() {
    let f = with(&["OwnerReferencesPermissionEnforcement"], &[]).await;
    let role = |rules: Value| json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "r"}, "rules": rules});
    let maps = json!({"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create", "update", "get"]});
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "r"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "r"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "joe"}]});
    for (resource, object) in [
        ("clusterroles", role(json!([maps]))),
        ("clusterrolebindings", binding),
    ] {
        let uri = format!("/apis/rbac.authorization.k8s.io/v1/{resource}");
        assert_eq!(f.send("POST", &uri, object).await.0, StatusCode::CREATED);
    }
    let owned = |name: &str, kind: &str, blocks: bool| {
        let mut map = config_map(name);
        map["metadata"]["ownerReferences"] = json!([{"apiVersion": "apps/v1", "kind": kind, "name": "o", "uid": "u",
            "blockOwnerDeletion": blocks}]);
        map
    };
    let uri = "/api/v1/namespaces/default/configmaps";
    let joe = async |method: &str, uri: &str, object: Value| {
        let joe = f.server.in_process(UserInfo::new("joe", &[]));
        f.send_as(joe, method, uri, object, &[]).await
    };
    // Who creates an object may say whose it is, but not what waits for it.
    assert_eq!(
        joe("POST", uri, owned("a", "Deployment", false)).await.0,
        StatusCode::CREATED
    );
    let (code, answer) = joe("POST", uri, owned("b", "Deployment", true)).await;
    assert_eq!(code, StatusCode::FORBIDDEN, "{answer}");
    let why = "configmaps \"b\" is forbidden: cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on: , <nil>";
    assert_eq!(message(&answer), why);
    let (_, answer) = joe("POST", uri, owned("b", "Nothing", true)).await;
    assert!(
        message(&answer).ends_with("cannot find RESTMapping for APIVersion apps/v1 Kind Nothing: no matches for kind \"Nothing\" in version \"apps/v1\""),
        "{answer}"
    );
    // Who changes whose it is must be able to delete it.
    let (_, answer) = joe("PUT", &format!("{uri}/a"), config_map("a")).await;
    assert!(
        message(&answer).contains("cannot set an ownerRef on a resource you can't delete"),
        "{answer}"
    );
    // With the right to finalize the owners it is fine.
    let finalize =
        json!({"apiGroups": ["apps"], "resources": ["deployments/finalizers"], "verbs": ["update"]});
    let roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles/r";
    assert_eq!(
        f.send("PUT", roles, role(json!([maps, finalize]))).await.0,
        StatusCode::OK
    );
    let (code, answer) = joe("POST", uri, owned("b", "Deployment", true)).await;
    assert_eq!(code, StatusCode::CREATED, "{answer}");
}
