//! Plugins that a file configures.

use super::hooks::{Hook, Reply};
use super::*;
use crate::{admission::PluginError, options::AdmissionControl};

const PODS: &str = "/api/v1/namespaces/default/pods";

/// A server with plugins enabled and configured.
async fn with(on: &[&str], plugins: Value, files: &[(&str, String)]) -> Fixture {
    let control = control(plugins, files);
    let f = fixture_of(|options| {
        options.features.admission.enable_admission_plugins =
            on.iter().map(|name| (*name).to_owned()).collect();
        options.features.admission.admission_control_config_file = Some(control);
    })
    .await;
    let account = json!({"metadata": {"name": "default"}});
    f.send("POST", "/api/v1/namespaces/default/serviceaccounts", account)
        .await;
    f
}

fn control(plugins: Value, files: &[(&str, String)]) -> AdmissionControl {
    let text = json!({"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AdmissionConfiguration", "plugins": plugins});
    let file = |name: &str| {
        let found = files.iter().find(|(known, _)| *known == name);
        Ok(found.unwrap_or_else(|| panic!("{name} is asked for")).1.clone())
    };
    AdmissionControl::parse(&text.to_string(), file).unwrap()
}

#[tokio::test]
async fn so_many_events_are_written_and_no_more() {
    let limits = json!({"apiVersion": "eventratelimit.admission.k8s.io/v1alpha1", "kind": "Configuration",
        "limits": [{"type": "SourceAndObject", "qps": 1, "burst": 2}]});
    let files = [("limits.yaml", limits.to_string())];
    let plugins = json!([{"name": "EventRateLimit", "path": "limits.yaml"}]);
    let f = with(&["EventRateLimit"], plugins, &files).await;
    let event = |name: String, about: &str| {
        json!({"metadata": {"name": name}, "involvedObject": {"kind": "Pod", "namespace": "default", "name": about},
            "source": {"component": "c"}, "reason": "R", "message": "m", "type": "Normal"})
    };
    let events = "/api/v1/namespaces/default/events";
    // Faster than one in a second; however slow the machine, it does not take that long each time.
    let mut number = 0;
    let answer = loop {
        let (code, answer) = f.send("POST", events, event(format!("a{number}"), "p")).await;
        if code != 201 {
            assert_eq!(code, 429, "{answer}");
            break answer;
        }
        number += 1;
        assert!(number < 100, "all are taken");
    };
    assert!(number >= 2, "{answer}");
    assert_eq!(
        answer["message"],
        "Too many requests: limit reached on type SourceAndObject for key cPoddefaultp"
    );
    assert_eq!(answer["reason"], "TooManyRequests");
    // Another object is counted apart, and what is only tried is not counted.
    let dry = format!("{events}?dryRun=All");
    for number in 0..3 {
        let (code, _) = f.send("POST", &dry, event(format!("d{number}"), "q")).await;
        assert_eq!(code, 201);
    }
    assert_eq!(f.send("POST", events, event("b".into(), "q")).await.0, 201);
}

#[tokio::test]
async fn a_webhook_judges_images() {
    let hook = Hook::start(|_, review| {
        let image = review["spec"]["containers"][0]["image"]
            .as_str()
            .unwrap_or_default();
        let status = match image {
            "good" => json!({"allowed": true, "auditAnnotations": {"seen": "yes"}}),
            "bad" => json!({"allowed": false, "reason": "it is bad"}),
            _ => return Reply::Text(500, "no".into()),
        };
        Reply::Json(
            json!({"apiVersion": "imagepolicy.k8s.io/v1alpha1", "kind": "ImageReview", "status": status}),
        )
    })
    .await;
    let kubeconfig = json!({
        "clusters": [{"name": "c", "cluster": {
            "server": format!("https://{}/images", hook.address), "certificate-authority-data": hook.ca_bundle}}],
        "users": [{"name": "u", "user": {}}],
    });
    let files = [("kubeconfig", kubeconfig.to_string())];
    for open in [false, true] {
        let plugins = json!([{"name": "ImagePolicyWebhook", "configuration": {"imagePolicy":
            {"kubeConfigFile": "kubeconfig", "retryBackoff": 1, "defaultAllow": open}}}]);
        let f = with(&["ImagePolicyWebhook"], plugins, &files).await;
        let asked = hook.bodies().len();
        let ask = async |name: &str, image: &str| {
            let mut pod = pod(name);
            pod["spec"]["containers"][0]["image"] = json!(image);
            pod["metadata"]["annotations"] = json!({"x.image-policy.k8s.io/break": "glass", "other": "1"});
            let (code, answer) = f.send("POST", PODS, pod).await;
            (
                code.as_u16(),
                answer["message"].as_str().unwrap_or_default().to_owned(),
            )
        };
        assert_eq!(ask("a", "good").await.0, 201);
        let bad =
            "pods \"b\" is forbidden: image policy webhook backend denied one or more images: it is bad";
        assert_eq!(ask("b", "bad").await, (403, bad.to_owned()));
        // The same question is asked once.
        assert_eq!(ask("c", "good").await.0, 201);
        let bodies = hook.bodies();
        assert_eq!(bodies.len() - asked, 2);
        let spec = json!({"containers": [{"image": "good"}], "namespace": "default",
            "annotations": {"x.image-policy.k8s.io/break": "glass"}});
        assert_eq!(
            (&bodies[asked]["kind"], &bodies[asked]["spec"]),
            (&json!("ImageReview"), &spec)
        );
        let (code, why) = ask("d", "unknown").await;
        assert_eq!(code, if open { 201 } else { 403 }, "{why}");
        assert_eq!(hook.bodies().len() - asked, 2 + 5, "an answer is waited for");
    }
}

#[tokio::test]
async fn namespaces_that_say_nothing_have_a_standard() {
    let configuration = json!({"apiVersion": "pod-security.admission.config.k8s.io/v1", "kind": "PodSecurityConfiguration",
        "defaults": {"enforce": "baseline", "enforce-version": "latest", "warn": "privileged"},
        "exemptions": {"usernames": ["trusted"], "namespaces": ["kube-system"]}});
    let f = with(
        &[],
        json!([{"name": "PodSecurity", "configuration": configuration}]),
        &[],
    )
    .await;
    let free =
        json!({"metadata": {"name": "free", "labels": {"pod-security.kubernetes.io/enforce": "privileged"}}});
    f.send("POST", "/api/v1/namespaces", free).await;
    for namespace in ["free", "kube-system"] {
        let account = json!({"metadata": {"name": "default"}});
        let accounts = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
        f.send("POST", &accounts, account).await;
    }
    let mut wild = pod("p");
    wild["spec"]["hostNetwork"] = json!(true);
    let trusted = || f.server.in_process(UserInfo::new("trusted", &["system:masters"]));
    for (who, namespace, wanted) in [
        (f.admin(), "default", 403),
        (trusted(), "default", 201),
        (f.admin(), "free", 201),
        (f.admin(), "kube-system", 201),
    ] {
        let uri = format!("/api/v1/namespaces/{namespace}/pods");
        let (code, answer) = f.send_as(who, "POST", &uri, wild.clone(), &[]).await;
        assert_eq!(code.as_u16(), wanted, "{namespace}: {answer}");
        if wanted == 403 {
            let said = answer["message"].as_str().unwrap();
            assert!(
                said.contains("violates PodSecurity \"baseline:latest\": host namespaces"),
                "{said}"
            );
        }
    }
}

#[test]
fn what_a_plugin_cannot_read_is_named() {
    let chosen = |on: &[&str], plugins: Value| {
        let options = crate::options::Admission {
            enable_admission_plugins: on.iter().map(|name| (*name).to_owned()).collect(),
            admission_control_config_file: Some(control(plugins, &[])),
            ..Default::default()
        };
        crate::admission::Chain::chosen(&options).map(|_| ())
    };
    for name in ["EventRateLimit", "ImagePolicyWebhook"] {
        assert_eq!(
            chosen(&[name], json!([{"name": name}])),
            Err(PluginError::NoConfiguration(name))
        );
    }
    let standard = |defaults: Value| json!({"apiVersion": "pod-security.admission.config.k8s.io/v1", "kind": "PodSecurityConfiguration", "defaults": defaults});
    for (plugin, configuration, why) in [
        (
            "EventRateLimit",
            json!({"kind": "Other"}),
            "expected kind Configuration",
        ),
        ("ImagePolicyWebhook", json!({}), "missing field `imagePolicy`"),
        (
            "ImagePolicyWebhook",
            json!({"imagePolicy": {"allowTTL": 7200}}),
            "valid value is between 1s and 1800s",
        ),
        (
            "PodSecurity",
            standard(json!({"enforce": "tight"})),
            "defaults.enforce: Invalid value: \"tight\"",
        ),
        (
            "PodSecurity",
            standard(json!({"warn-version": "1.2"})),
            "defaults.warn-version: Invalid value",
        ),
        (
            "PodSecurity",
            standard(json!({"enforced": "baseline"})),
            "Unsupported value: \"enforced\"",
        ),
        (
            "LimitRanger",
            json!({"kind": "Other"}),
            "has no configuration here",
        ),
    ] {
        let plugins = json!([{"name": plugin, "configuration": configuration}]);
        let error = chosen(&[plugin], plugins).unwrap_err().to_string();
        let begin = format!("--admission-control-config-file: plugin {plugin}: ");
        assert!(error.starts_with(&begin) && error.contains(why), "{error}");
    }
    // What is not run needs no configuration, and may have any.
    assert_eq!(
        chosen(
            &[],
            json!([{"name": "EventRateLimit", "configuration": {"kind": "Other"}}])
        ),
        Ok(())
    );
}
