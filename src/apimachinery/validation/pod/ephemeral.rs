//! Ephemeral containers: containers of which much may not be said.

use serde_json::Value;

use super::super::support::{list, text};
use super::{Around, container};
use crate::field::{Error, ErrorList, Path};

/// Fields that a debugger's container can't have.
const REFUSED: &[&str] = &[
    "lifecycle",
    "livenessProbe",
    "ports",
    "readinessProbe",
    "resizePolicy",
    "resources",
    "restartPolicy",
    "restartPolicyRules",
    "startupProbe",
];

pub(super) fn all(around: Around<'_>, path: &Path, errs: &mut ErrorList) {
    let spec = around.spec;
    let path = path.child("ephemeralContainers");
    let mut taken: Vec<&str> = ["containers", "initContainers"]
        .iter()
        .flat_map(|lists| list(&spec[*lists]))
        .map(|c| text(c, "name"))
        .collect();
    let others = taken.clone();
    for (i, c) in list(&spec["ephemeralContainers"]).iter().enumerate() {
        let p = path.index(i);
        // In templates, too, their images are looked at as a pod's.
        container::common(
            c,
            Around {
                is_pod: true,
                ..around
            },
            &p,
            errs,
        );
        let name = text(c, "name");
        if !name.is_empty() {
            if taken.contains(&name) {
                errs.push(Error::duplicate(&p.child("name"), name));
            }
            taken.push(name);
        }
        let target = text(c, "targetContainerName");
        if !target.is_empty() && !others.contains(&target) {
            errs.push(Error::not_found(&p.child("targetContainerName"), target));
        }
        for field in REFUSED {
            // A value that is empty is one too, but for the struct that is always there.
            let set = match &c[*field] {
                Value::Null => false,
                Value::Array(items) => !items.is_empty(),
                Value::Object(fields) => *field != "resources" || !fields.is_empty(),
                _ => true,
            };
            if set {
                errs.push(Error::forbidden(
                    &p.child(field),
                    "cannot be set for an Ephemeral Container",
                ));
            }
        }
        for (j, mount) in list(&c["volumeMounts"]).iter().enumerate() {
            for field in ["subPath", "subPathExpr"] {
                if !text(mount, field).is_empty() {
                    errs.push(Error::forbidden(
                        &p.child("volumeMounts").index(j).child(field),
                        "cannot be set for an Ephemeral Container",
                    ));
                }
            }
        }
    }
}
