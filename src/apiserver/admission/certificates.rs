//! Who asks for a certificate, who may approve and sign it, and what may not be asked for.
//! Upstream: `plugin/pkg/admission/certificates` and the request's registry strategy.

use async_trait::async_trait;
use rkind_apimachinery::meta;
use serde_json::{Value, json};

use super::{Admit, Operation, Request, Validate};
use crate::{error::Result, user::MASTERS};

const CLIENT_SIGNER: &str = "kubernetes.io/kube-apiserver-client";

pub(super) struct Certificates;

fn concerns(request: &Request<'_>) -> bool {
    request.def.group == "certificates.k8s.io" && request.def.resource == "certificatesigningrequests"
}

#[async_trait]
impl Admit for Certificates {
    fn name(&self) -> &'static str {
        "CertificateSubject"
    }

    async fn admit(&self, request: &mut Request<'_>) -> Result<()> {
        if concerns(request) && request.operation == Operation::Create {
            let user = request.user;
            let spec = meta::child_object(request.object, "spec");
            for field in ["username", "uid", "groups", "extra"] {
                spec.remove(field);
            }
            spec.insert("username".into(), json!(user.name));
            if !user.uid.is_empty() {
                spec.insert("uid".into(), json!(user.uid));
            }
            spec.insert("groups".into(), json!(user.groups));
            if !user.extra.is_empty() {
                spec.insert("extra".into(), json!(user.extra));
            }
            if let Some(object) = request.object.as_object_mut() {
                object.remove("status");
            }
        }
        if concerns(request) && request.sub == "approval" {
            stamp(request.object, request.old);
        }
        Ok(())
    }
}

/// Times of conditions that an approver leaves out.
fn stamp(object: &mut Value, old: Option<&Value>) {
    let old = old.map(|o| o["status"]["conditions"].clone()).unwrap_or_default();
    for condition in object
        .pointer_mut("/status/conditions")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        let known = old
            .as_array()
            .into_iter()
            .flatten()
            .find(|c| c["type"] == condition["type"]);
        if condition["lastUpdateTime"].is_null() {
            condition["lastUpdateTime"] = json!(meta::now());
        }
        if condition["lastTransitionTime"].is_null() {
            condition["lastTransitionTime"] = match known {
                Some(known) if known["status"] == condition["status"] => known["lastTransitionTime"].clone(),
                _ => json!(meta::now()),
            };
        }
    }
}

#[async_trait]
impl Validate for Certificates {
    fn name(&self) -> &'static str {
        "CertificateApproval"
    }

    async fn validate(&self, request: &Request<'_>) -> Result<()> {
        if !concerns(request) {
            return Ok(());
        }
        let signer = request.old.unwrap_or(request.object)["spec"]["signerName"]
            .as_str()
            .unwrap_or_default();
        match (request.operation, request.sub) {
            (Operation::Create, "") => {
                if signer == CLIENT_SIGNER && asks_for_masters(&request.object["spec"]["request"]) {
                    return Err(request.forbidden(&format!(
                        "use of {CLIENT_SIGNER} signer with {MASTERS} group is not allowed"
                    )));
                }
                Ok(())
            }
            (Operation::Update, "approval") => permitted(request, "approve", signer).await,
            (Operation::Update, "status") => {
                let signed = &request.object["status"]["certificate"];
                if request
                    .old
                    .is_some_and(|old| old["status"]["certificate"] == *signed)
                {
                    return Ok(());
                }
                permitted(request, "sign", signer).await
            }
            _ => Ok(()),
        }
    }
}

/// The verb is granted on the signer, or on all signers of its domain.
async fn permitted(request: &Request<'_>, verb: &str, signer: &str) -> Result<()> {
    let domain = signer.split('/').next().unwrap_or_default();
    for name in [signer, &format!("{domain}/*")] {
        if request.may(verb, "certificates.k8s.io", "signers", name).await {
            return Ok(());
        }
    }
    Err(request.forbidden(&format!(
        "user not permitted to {verb} requests with signerName {signer:?}"
    )))
}

/// Reads a PEM certificate request (base64 in JSON) and asks its subject.
fn of_subject<T>(request: &Value, ask: impl Fn(&x509_parser::x509::X509Name<'_>) -> T) -> Option<T> {
    use base64::Engine as _;
    use x509_parser::prelude::FromDer;
    let pem = base64::engine::general_purpose::STANDARD
        .decode(request.as_str()?)
        .ok()?;
    let (_, pem) = x509_parser::pem::parse_x509_pem(&pem).ok()?;
    let (_, csr) =
        x509_parser::certification_request::X509CertificationRequest::from_der(&pem.contents).ok()?;
    Some(ask(&csr.certification_request_info.subject))
}

/// Whether a certificate request names the group of masters.
fn asks_for_masters(request: &Value) -> bool {
    of_subject(request, |subject| {
        subject.iter_organization().any(|o| o.as_str() == Ok(MASTERS))
    })
    .unwrap_or(false)
}

/// The common name of a certificate request; `None` when it cannot be read.
pub(super) fn common_name(request: &Value) -> Option<String> {
    of_subject(request, |subject| {
        let mut names = subject.iter_common_name().filter_map(|n| n.as_str().ok());
        names.next().map(str::to_owned)
    })
    .flatten()
}
