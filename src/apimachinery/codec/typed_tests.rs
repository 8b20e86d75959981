//! The table against an independent reading of upstream's types: k8s-openapi's structs.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::*;
use crate::schema::Schema;
use crate::schema::random::{Random, difference};

/// Keeps of `whole` only what `part` has.
fn restrict(whole: &Value, part: &Value) -> Value {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => Value::Object(
            part.iter()
                .filter_map(|(key, part)| Some((key.clone(), restrict(whole.get(key)?, part))))
                .collect(),
        ),
        (Value::Array(whole), Value::Array(part)) => whole
            .iter()
            .zip(part)
            .map(|(whole, part)| restrict(whole, part))
            .collect(),
        _ => whole.clone(),
    }
}

/// Whatever the table produces the struct keeps, and whatever the struct writes the table knows.
fn agree<K: Serialize + DeserializeOwned>(type_name: &str) {
    let def = Schema::get()
        .type_by_name(type_name)
        .unwrap_or_else(|| panic!("no type {type_name}"));
    for seed in 0..20 {
        let object = Random(seed).object(def, 0);
        let typed: K =
            serde_json::from_value(object.clone()).unwrap_or_else(|error| panic!("{type_name}: {error}"));
        let back = serde_json::to_value(&typed).unwrap();
        assert_eq!(
            difference(&restrict(&back, &object), &object, def.go_name()),
            None
        );
        let (value, errors) = decode_value(back.clone(), def, FieldValidation::Strict).unwrap();
        assert_eq!(errors, []);
        assert_eq!(difference(&restrict(&value, &back), &back, def.go_name()), None);
    }
}

macro_rules! kinds {
    ($($test:ident: $($module:ident)::+ { $($kind:ident)+ } as $package:literal;)+) => {
        $(#[test]
        fn $test() {
            use k8s_openapi::$($module)::+ as types;
            $(agree::<types::$kind>(concat!($package, ".", stringify!($kind)));)+
        })+
    };
}

kinds! {
    core: api::core::v1 {
        ConfigMap Endpoints Event LimitRange Namespace Node PersistentVolume PersistentVolumeClaim Pod
        PodTemplate ReplicationController ResourceQuota Secret Service ServiceAccount
    } as "io.k8s.api.core.v1";
    apps: api::apps::v1 { ControllerRevision DaemonSet Deployment ReplicaSet StatefulSet }
        as "io.k8s.api.apps.v1";
    batch: api::batch::v1 { CronJob Job } as "io.k8s.api.batch.v1";
    networking: api::networking::v1 { Ingress IngressClass IPAddress NetworkPolicy ServiceCIDR }
        as "io.k8s.api.networking.v1";
    discovery: api::discovery::v1 { EndpointSlice } as "io.k8s.api.discovery.v1";
    coordination: api::coordination::v1 { Lease } as "io.k8s.api.coordination.v1";
    rbac: api::rbac::v1 { ClusterRole ClusterRoleBinding Role RoleBinding } as "io.k8s.api.rbac.v1";
    storage: api::storage::v1 { CSIDriver CSINode StorageClass VolumeAttachment } as "io.k8s.api.storage.v1";
    autoscaling: api::autoscaling::v2 { HorizontalPodAutoscaler } as "io.k8s.api.autoscaling.v2";
    admission: api::admissionregistration::v1 {
        MutatingWebhookConfiguration ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding
    } as "io.k8s.api.admissionregistration.v1";
    resource: api::resource::v1 { DeviceClass ResourceClaim ResourceSlice } as "io.k8s.api.resource.v1";
    meta: apimachinery::pkg::apis::meta::v1 { DeleteOptions Status APIResourceList APIGroup }
        as "io.k8s.apimachinery.pkg.apis.meta.v1";
}
