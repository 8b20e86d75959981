//! The expressions by which claims and classes choose devices
//! (upstream's `k8s.io/dynamic-resource-allocation/cel`).

use std::sync::LazyLock;

use rkind_apimachinery::field::{Error, ErrorList, Path};
use rkind_cel::{Env, ObjectType, Program, Type};
use serde_json::Value;

/// Characters of an expression; longer ones are refused for that alone.
const LONGEST: usize = 10 * 1024;

static ENV: LazyLock<Env> = LazyLock::new(|| {
    let by_domain = |value: Type| Type::map(Type::String, Type::map(Type::String, value));
    let device = ObjectType::new(
        "kubernetes.DRADevice",
        [
            ("driver", Type::String),
            ("attributes", by_domain(Type::Dyn)),
            ("capacity", by_domain(Type::Opaque("kubernetes.Quantity"))),
        ],
    );
    Env::new().variable("device", Type::Object(device)).build()
});

/// Checks the selectors of an object of `resource.k8s.io`.
pub(crate) fn check(kind: &str, object: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    let (spec, path) = (&object["spec"], Path::new("spec"));
    match kind {
        "DeviceClass" => selectors(spec, &path, &mut errors),
        "ResourceClaim" => requests(spec, &path, &mut errors),
        "ResourceClaimTemplate" => requests(&spec["spec"], &path.child("spec"), &mut errors),
        _ => {}
    }
    errors
}

fn items(list: &Value) -> impl Iterator<Item = (usize, &Value)> {
    list.as_array().into_iter().flatten().enumerate()
}

fn requests(spec: &Value, path: &Path, errors: &mut ErrorList) {
    let path = path.child("devices").child("requests");
    for (i, request) in items(&spec["devices"]["requests"]) {
        let path = path.index(i);
        let choices = &request["firstAvailable"];
        match (
            request["exactly"].is_object(),
            choices.as_array().is_some_and(|all| !all.is_empty()),
        ) {
            (true, false) => selectors(&request["exactly"], &path.child("exactly"), errors),
            (false, true) => {
                for (i, choice) in items(choices) {
                    selectors(choice, &path.child("firstAvailable").index(i), errors);
                }
            }
            _ => {}
        }
    }
}

fn selectors(of: &Value, path: &Path, errors: &mut ErrorList) {
    for (i, selector) in items(&of["selectors"]) {
        let cel = &selector["cel"];
        let source = cel["expression"].as_str().unwrap_or_default();
        if !cel.is_object() || source.len() > LONGEST {
            continue;
        }
        let why = match Program::compile(&ENV, source) {
            Err(why) => format!("compilation failed: {why}"),
            Ok(program) if matches!(program.output(), Type::Bool | Type::Dyn) => continue,
            Ok(program) => format!(
                "must evaluate to bool or the unknown type, not {}",
                program.output()
            ),
        };
        let path = path.child("selectors").index(i).child("cel").child("expression");
        errors.push(Error::invalid(&path, source, why));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn selectors_are_compiled() {
        let told = |expression: &str| {
            let class = json!({"spec": {"selectors": [{"cel": {"expression": expression}}]}});
            check("DeviceClass", &class).to_string()
        };
        for good in [
            "device.driver == 'd.example.com'",
            "device.attributes['d.example.com'].fast",
            "device.capacity['d.example.com'].memory.compareTo(quantity('1Gi')) >= 0",
        ] {
            assert_eq!(told(good), "");
        }
        assert_eq!(
            told("device.driver"),
            "spec.selectors[0].cel.expression: Invalid value: \"device.driver\": must evaluate to bool or the unknown type, not string"
        );
        assert!(told("devices").contains("undeclared reference to 'devices'"));
    }
}
