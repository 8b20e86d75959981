use super::*;

fn enabled(settings: &str) -> Result<Vec<String>, String> {
    let settings: Vec<(String, String)> = settings
        .split(',')
        .filter(|s| !s.is_empty())
        .map(|s| s.split_once('=').unwrap_or((s, "")))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    let enabled = Enabled::new(&settings).map_err(|e| e.to_string())?;
    Ok(enabled
        .resources()
        .map(|def| format!("{}/{}", def.api_version(), def.resource))
        .collect())
}

#[test]
fn settings_add_to_the_defaults_and_take_from_them() {
    let defaults = enabled("").unwrap();
    assert_eq!(defaults.len(), resources::builtin().len());
    let beta = |name: &String| name.contains("beta");
    assert!(!defaults.iter().any(|name| beta(name) || name.contains("alpha")));
    for (settings, in_it, not_in_it) in [
        (
            "admissionregistration.k8s.io/v1beta1=true",
            "admissionregistration.k8s.io/v1beta1/mutatingadmissionpolicies",
            "admissionregistration.k8s.io/v1alpha1/mutatingadmissionpolicies",
        ),
        (
            "api/beta=true",
            "resource.k8s.io/v1beta2/resourceclaims",
            "scheduling.k8s.io/v1alpha1/workloads",
        ),
        (
            "api/all=true,api/alpha=false",
            "coordination.k8s.io/v1beta1/leasecandidates",
            "coordination.k8s.io/v1alpha2/leasecandidates",
        ),
        // The order in which they are written does not count, what is nearer does.
        (
            "batch/v1/jobs=true,batch/v1=false",
            "batch/v1/jobs",
            "batch/v1/cronjobs",
        ),
        (
            "apps/v1/daemonsets=false",
            "apps/v1/deployments",
            "apps/v1/daemonsets",
        ),
        (
            "storage.k8s.io/v1beta1",
            "storage.k8s.io/v1beta1/volumeattributesclasses",
            "apps/v1beta1/deployments",
        ),
        (
            "extensions/v1beta1=true,apps/v1=0",
            "batch/v1/jobs",
            "apps/v1/deployments",
        ),
    ] {
        let served = enabled(settings).unwrap();
        assert!(served.iter().any(|name| name == in_it), "{settings}: {in_it}");
        assert!(
            !served.iter().any(|name| name == not_in_it),
            "{settings}: {not_in_it}"
        );
    }
    assert_eq!(enabled("api/all=true").unwrap().len(), resources::all().len());
}

#[test]
fn what_upstream_refuses() {
    for (settings, why) in [
        ("api/all=false", "invalid key with only api/all=false"),
        ("v1=true", "runtime-config invalid key v1"),
        ("a/b/c/d=true", "runtime-config invalid key a/b/c/d"),
        (
            "example.com/v1=true,foo/v2=true",
            "unknown api groups example.com,foo",
        ),
        ("api/legacy=false", "unknown api groups api"),
        (
            "apps/v9=true",
            "group version apps/v9 that has not been registered",
        ),
        ("api/beta=yes", "invalid value api/beta=yes"),
        (
            "apps/v1=yes",
            "invalid value of apps/v1: yes, err: strconv.ParseBool: parsing \"yes\": invalid syntax",
        ),
        (
            "apps/v1/Deployments=false",
            "invalid key apps/v1/Deployments: group/version/resource and resource is always lowercase plural, not \"Deployments\"",
        ),
    ] {
        assert_eq!(enabled(settings).unwrap_err(), why, "{settings}");
    }
}
