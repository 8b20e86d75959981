//! Who may approve and sign a certificate, and what may not be asked for.
//! Upstream: `plugin/pkg/admission/certificates`.

use async_trait::async_trait;
use rkind_apimachinery::field::quote;
use serde_json::Value;

use super::{Operation, Request, Validate};
use crate::{error::Result, user::MASTERS};

const CLIENT_SIGNER: &str = "kubernetes.io/kube-apiserver-client";

fn concerns(request: &Request<'_>, operation: Operation, sub: &str) -> bool {
    request.def.group == "certificates.k8s.io"
        && request.def.resource == "certificatesigningrequests"
        && (request.operation, request.sub) == (operation, sub)
}

/// The signer that the stored request names: an update may not choose who is asked.
fn signer<'r>(request: &'r Request<'_>) -> &'r str {
    let old = request.old.unwrap_or(request.object);
    old["spec"]["signerName"].as_str().unwrap_or_default()
}

/// Nobody asks to become a master.
pub(super) struct SubjectRestriction;

#[async_trait]
impl Validate for SubjectRestriction {
    fn name(&self) -> &'static str {
        "CertificateSubjectRestriction"
    }

    async fn validate(&self, request: &Request<'_>) -> Result<()> {
        if concerns(request, Operation::Create, "")
            && signer(request) == CLIENT_SIGNER
            && asks_for_masters(&request.object["spec"]["request"])
        {
            return Err(request.forbidden(&format!(
                "use of {CLIENT_SIGNER} signer with {MASTERS} group is not allowed"
            )));
        }
        Ok(())
    }
}

/// Who approves may do so for the signer.
pub(super) struct Approval;

#[async_trait]
impl Validate for Approval {
    fn name(&self) -> &'static str {
        "CertificateApproval"
    }

    async fn validate(&self, request: &Request<'_>) -> Result<()> {
        if concerns(request, Operation::Update, "approval") {
            return permitted(request, "approve", signer(request)).await;
        }
        Ok(())
    }
}

/// Who writes a certificate, or that there will be none, may sign for the signer.
pub(super) struct Signing;

#[async_trait]
impl Validate for Signing {
    fn name(&self) -> &'static str {
        "CertificateSigning"
    }

    async fn validate(&self, request: &Request<'_>) -> Result<()> {
        let changed = |field: &str| {
            request
                .old
                .is_some_and(|old| old["status"][field] != request.object["status"][field])
        };
        if concerns(request, Operation::Update, "status") && (changed("certificate") || changed("conditions"))
        {
            return permitted(request, "sign", signer(request)).await;
        }
        Ok(())
    }
}

/// Who lets a bundle of trust speak for a signer may do so.
pub(super) struct BundleAttest;

#[async_trait]
impl Validate for BundleAttest {
    fn name(&self) -> &'static str {
        "ClusterTrustBundleAttest"
    }

    async fn validate(&self, request: &Request<'_>) -> Result<()> {
        let written = matches!(request.operation, Operation::Create | Operation::Update);
        let bundle =
            (request.def.group, request.def.resource) == ("certificates.k8s.io", "clustertrustbundles");
        let signer = request.object["spec"]["signerName"].as_str().unwrap_or_default();
        if !written || !bundle || signer.is_empty() {
            return Ok(());
        }
        if is_permitted(request, "attest", signer).await {
            return Ok(());
        }
        Err(request.forbidden(&format!(
            "user not permitted to attest for signerName {}",
            quote(signer)
        )))
    }
}

async fn permitted(request: &Request<'_>, verb: &str, signer: &str) -> Result<()> {
    if is_permitted(request, verb, signer).await {
        return Ok(());
    }
    Err(request.forbidden(&format!(
        "user not permitted to {verb} requests with signerName {}",
        quote(signer)
    )))
}

/// Whether the verb is granted on the signer, or on all signers of its domain.
async fn is_permitted(request: &Request<'_>, verb: &str, signer: &str) -> bool {
    let domain = signer.split('/').next().unwrap_or_default();
    for name in [signer, &format!("{domain}/*")] {
        if request.may(verb, "certificates.k8s.io", "signers", name).await {
            return true;
        }
    }
    false
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
