//! `AdmissionReview`: what is asked and what an answer means.

use base64::Engine as _;
use rkind_apimachinery::{field::quote, status::Status};
use serde_json::{Value, json};

use crate::machinery::strings;

/// The body to post.
pub(super) fn ask(version: &str, request: Value) -> Value {
    json!({"kind": "AdmissionReview", "apiVersion": format!("admission.k8s.io/{version}"), "request": request})
}

/// A webhook's verdict.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Verdict {
    pub allowed: bool,
    /// `metav1.Status` of a refusal; null when it gave none.
    pub status: Value,
    /// JSON patch, undecoded; empty for none.
    pub patch: Vec<u8>,
    pub patch_type: String,
    pub warnings: Vec<String>,
    pub annotations: Vec<(String, String)>,
}

/// Reads and checks an answer in the version it was asked in.
///
/// # Errors
/// Upstream's words for an answer that breaks the contract.
pub(super) fn read(version: &str, uid: &str, mutating: bool, review: &Value) -> Result<Verdict, String> {
    let response = &review["response"];
    if !response.is_object() {
        return Err("webhook response was absent".into());
    }
    let patch = base64::engine::general_purpose::STANDARD
        .decode(response["patch"].as_str().unwrap_or_default())
        .map_err(|e| format!("illegal base64 data in response.patch: {e}"))?;
    let patch_type = response["patchType"].as_str();
    let mut verdict = Verdict {
        allowed: response["allowed"] == true,
        status: response["status"].clone(),
        patch_type: patch_type.unwrap_or("JSONPatch").to_owned(),
        patch,
        ..Default::default()
    };
    if version == "v1" {
        let own = response["uid"].as_str().unwrap_or_default();
        if own != uid {
            return Err(format!(
                "expected response.uid={}, got {}",
                quote(uid),
                quote(own)
            ));
        }
        let (api, kind) = (&review["apiVersion"], &review["kind"]);
        if api != "admission.k8s.io/v1" || kind != "AdmissionReview" {
            let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
            return Err(format!(
                "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got {}, Kind={}",
                text(api),
                text(kind)
            ));
        }
        check_patch(mutating, !verdict.patch.is_empty(), patch_type)?;
    } else if !mutating {
        verdict.patch.clear();
    }
    verdict.warnings = strings(&response["warnings"]);
    let annotations = response["auditAnnotations"].as_object().into_iter().flatten();
    verdict.annotations = annotations
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect();
    Ok(verdict)
}

fn check_patch(mutating: bool, patched: bool, patch_type: Option<&str>) -> Result<(), String> {
    let fault = match (mutating, patched, patch_type) {
        (true, true, None) => "webhook returned response.patch but not response.patchType",
        (true, false, Some(_)) => "webhook returned response.patchType but not response.patch",
        (true, true, Some("")) => "webhook returned invalid response.patchType of \"\"",
        (false, true, _) => "validating webhook may not return response.patch",
        (false, false, Some(_)) => "validating webhook may not return response.patchType",
        _ => return Ok(()),
    };
    Err(fault.into())
}

/// The client's answer when a webhook says no.
pub(super) fn refusal(name: &str, status: &Value) -> Box<Status> {
    let denied = format!("admission webhook {} denied the request", quote(name));
    let text = |field: &str| status[field].as_str().filter(|t| !t.is_empty());
    let message = match (text("message"), text("reason")) {
        (Some(why), _) | (None, Some(why)) => format!("{denied}: {why}"),
        (None, None) => format!("{denied} without explanation"),
    };
    let code = status["code"].as_u64().and_then(|c| u16::try_from(c).ok());
    let mut refused = Status::failure(
        code.filter(|c| *c >= 400).unwrap_or(400),
        text("reason").unwrap_or_default(),
        message,
    );
    refused.details = serde_json::from_value(status["details"].clone()).ok();
    refused.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn review(response: Value) -> Value {
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
    }

    #[test]
    fn answers_are_held_to_their_contract() {
        let cases = [
            (true, json!(null), "webhook response was absent"),
            (
                true,
                json!({"uid": "x"}),
                "expected response.uid=\"u\", got \"x\"",
            ),
            (
                true,
                json!({"uid": "u", "patch": "W10="}),
                "webhook returned response.patch but not response.patchType",
            ),
            (
                true,
                json!({"uid": "u", "patchType": "JSONPatch"}),
                "webhook returned response.patchType but not response.patch",
            ),
            (
                false,
                json!({"uid": "u", "patch": "W10=", "patchType": "JSONPatch"}),
                "validating webhook may not return response.patch",
            ),
        ];
        for (mutating, response, fault) in cases {
            assert_eq!(read("v1", "u", mutating, &review(response)).unwrap_err(), fault);
        }
        let good = json!({"uid": "u", "allowed": true, "warnings": ["w"], "auditAnnotations": {"k": "v"},
            "patch": "W10=", "patchType": "JSONPatch"});
        let verdict = read("v1", "u", true, &review(good)).unwrap();
        assert!(verdict.allowed);
        assert_eq!(
            (verdict.patch.as_slice(), verdict.warnings),
            (b"[]".as_slice(), vec!["w".into()])
        );
        assert_eq!(verdict.annotations, [("k".to_owned(), "v".to_owned())]);
    }

    #[test]
    fn refusals_read_as_upstreams() {
        let cases = [
            (
                json!(null),
                400,
                "",
                "admission webhook \"h\" denied the request without explanation",
            ),
            (
                json!({"reason": "R"}),
                400,
                "R",
                "admission webhook \"h\" denied the request: R",
            ),
            (
                json!({"message": "m", "reason": "Forbidden", "code": 403}),
                403,
                "Forbidden",
                "admission webhook \"h\" denied the request: m",
            ),
            (
                json!({"code": 200, "message": "m"}),
                400,
                "",
                "admission webhook \"h\" denied the request: m",
            ),
        ];
        for (status, code, reason, message) in cases {
            let refused = refusal("h", &status);
            assert_eq!(
                (refused.code, refused.reason.as_str(), refused.message.as_str()),
                (code, reason, message)
            );
        }
    }
}
