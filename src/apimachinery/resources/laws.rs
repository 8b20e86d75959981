//! What holds for every kind, whichever module knows it: random objects through the whole machinery.

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::Value;

use super::{ResourceDef, all};
use crate::codec::{self, FieldValidation};
use crate::meta::Gvk;
use crate::schema::random::{Random, difference};
use crate::{defaults, patch, protobuf, strategy, table, validation};

/// A random object as the API server has it after decoding.
fn object(seed: u64, resource: &ResourceDef) -> Value {
    let def = resource.type_def();
    let mut object = Random(seed).object(def, (seed % 5) as u32);
    object["apiVersion"] = resource.api_version().into();
    object["kind"] = resource.kind.into();
    let decoded = codec::decode_json(object.to_string().as_bytes(), def, FieldValidation::Strict);
    let (mut value, errors) = decoded.unwrap_or_else(|error| panic!("{}: {error}", resource.kind));
    assert_eq!(errors, []);
    codec::normalize(&mut value, def);
    value
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Defaults fit the schema, are found once and survive protobuf.
    #[test]
    fn defaults_fit(seed in any::<u64>(), index in 0..all().len()) {
        let resource = &all()[index];
        let def = resource.type_def();
        let gvk = Gvk::new(resource.group, resource.version, resource.kind);
        let mut value = object(seed, resource);
        defaults::apply(&gvk, &mut value);
        let mut again = value.clone();
        defaults::apply(&gvk, &mut again);
        prop_assert_eq!(difference(&again, &value, resource.kind), None, "applied twice");
        let (mut decoded, errors) = codec::decode_value(value.clone(), def, FieldValidation::Strict).unwrap();
        prop_assert_eq!(errors, []);
        prop_assert_eq!(difference(&decoded, &value, resource.kind), None, "decoded again");
        codec::normalize(&mut decoded, def);
        let bytes = protobuf::encode(&decoded, def).unwrap();
        // Protobuf has no place for the apiVersion of an object in an object: read, it is defaulted again.
        let mut back = protobuf::decode(&bytes, def).unwrap();
        defaults::apply(&gvk, &mut back);
        codec::normalize(&mut back, def);
        prop_assert_eq!(difference(&back, &decoded, resource.kind), None, "through protobuf");
    }

    /// Any two objects of a kind pass through rules, validation, patches and tables without a panic.
    #[test]
    fn nothing_panics(seed in any::<u64>(), other in any::<u64>(), index in 0..all().len()) {
        let resource = &all()[index];
        let gvk = Gvk::new(resource.group, resource.version, resource.kind);
        let (mut new, old) = (object(seed, resource), object(other, resource));
        prop_assert_eq!(patch::strategic(&new, b"{}", resource.type_def()).ok(), Some(new.clone()));
        let patched = patch::strategic(&old, new.to_string().as_bytes(), resource.type_def());
        drop(patched);
        strategy::prepare_for_create(&gvk, &mut new);
        drop(validation::create(&gvk, &new));
        strategy::prepare_for_update(&gvk, &mut new, &old);
        drop(validation::update(&gvk, &new, &old));
        strategy::prepare_for_status_update(&gvk, &mut new, &old);
        drop(validation::status_update(&gvk, &new, &old));
        let row = table::row(&gvk, &new, Timestamp::UNIX_EPOCH);
        prop_assert_eq!(row.len(), table::columns(&gvk).len());
    }
}
