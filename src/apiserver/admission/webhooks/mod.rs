//! Mutating and validating webhooks. Upstream: `k8s.io/apiserver/pkg/admission/plugin/webhook`.
//!
//! # Flow
//! Configurations are read into [`Hook`]s when one changed. A mutating hook is asked one after the
//! other, in the order of configuration names, and each sees what the one before made; validating
//! hooks are all asked at once. An object is sent in the version that the hook's rules name, and a
//! patch is taken in that version, with unknown fields dropped and defaults filled in.

mod hook;
pub(super) mod matching;
mod review;

use std::{sync::Arc, time::Instant};

use async_trait::async_trait;
use futures::future::join_all;
use parking_lot::Mutex;
use rkind_apimachinery::{field::quote, meta, status::Status};
use serde_json::{Value, json};

pub(super) use self::hook::Rule;
use self::{hook::Hook, review::Verdict};
use super::{Admit, Request, Validate};
use crate::{
    cacher::Cache,
    catalog::Def,
    core::Core,
    error::Result,
    metrics::admission::Called,
    registry::managed,
    webhook::{Target, failed_calling},
};

/// Kinds whose own writes no webhook and no policy judges: they must stay repairable.
pub(crate) fn is_exempt(request: &Request<'_>) -> bool {
    request.def.group == "admissionregistration.k8s.io"
}

/// Every hook of one kind of configuration, in the order of asking.
struct Hooks {
    /// Storage prefix of the configurations.
    resource: &'static str,
    known: Mutex<Option<(u64, Arc<Vec<Hook>>)>>,
}

impl Hooks {
    fn new(resource: &'static str) -> Self {
        Hooks {
            resource,
            known: Mutex::default(),
        }
    }

    fn get(&self, cache: &Cache) -> Arc<Vec<Hook>> {
        let Some(cacher) = cache.cacher(self.resource) else {
            return Arc::default();
        };
        let generation = cacher.generation();
        let mut known = self.known.lock();
        if let Some((at, hooks)) = &*known
            && *at == generation
        {
            return hooks.clone();
        }
        // The cache's map is sorted by name.
        let snapshot = cacher.snapshot(0);
        let all = snapshot.objects.values().flat_map(|c| Hook::all(&c.to_value()));
        let hooks = Arc::new(all.collect::<Vec<Hook>>());
        *known = Some((generation, hooks.clone()));
        hooks
    }
}

/// Why a hook let nothing pass.
enum Failure {
    /// It could not be asked or answered nonsense: its failure policy decides.
    Call(String),
    /// It said no.
    Refused(Box<Status>),
    /// This server cannot do what it asks.
    Unusable(Box<Status>),
}

/// Counts what a call came to.
fn count<T>(hook: &Hook, request: &Request<'_>, mutating: bool, began: Instant, done: &Result<T, Failure>) {
    let called = match done {
        Ok(_) => Called::Allowed,
        Err(Failure::Refused(status)) => Called::Refused(status.code),
        Err(Failure::Unusable(_)) => Called::Unusable,
        Err(Failure::Call(_)) if hook.fails_open => Called::FailedOpen,
        Err(Failure::Call(_)) => Called::Failed,
    };
    let operation = request.operation.as_str();
    let metrics = &request.core.metrics.webhooks;
    metrics.called(&hook.name, mutating, operation, &called, began.elapsed());
}

/// How a mutating hook's second round comes about; lives as long as the request.
#[derive(Default)]
pub(crate) struct Reinvocation {
    /// In the second round.
    pub again: bool,
    /// A hook changed the object: plugins before it are to see that.
    pub wanted: bool,
    /// Hooks that may be asked again, asked since the last change.
    asked: Vec<String>,
    /// Hooks to be asked again.
    due: Vec<String>,
    /// The object as the last hook left it.
    last: Option<Value>,
    /// What `MutatingAdmissionPolicy` keeps.
    pub policies: super::policy::mutating::Again,
}

impl Reinvocation {
    fn require(&mut self) {
        self.due.append(&mut self.asked);
    }
}

/// `MutatingAdmissionWebhook`.
pub(super) struct Mutating(Hooks);

impl Default for Mutating {
    fn default() -> Self {
        Mutating(Hooks::new(
            "admissionregistration.k8s.io/mutatingwebhookconfigurations",
        ))
    }
}

#[async_trait]
impl Admit for Mutating {
    fn name(&self) -> &'static str {
        "MutatingAdmissionWebhook"
    }

    fn shows(&self, core: &Core) -> bool {
        !self.0.get(&core.cache).is_empty()
    }

    async fn admit(&self, request: &mut Request<'_>) -> Result<()> {
        let hooks = self.0.get(&request.core.cache);
        if hooks.is_empty() || is_exempt(request) {
            return Ok(());
        }
        let again = request.reinvocation.again;
        if again && request.reinvocation.last.as_ref() != Some(&*request.object) {
            request.reinvocation.require();
        }
        for (index, hook) in hooks.iter().enumerate() {
            if again && !request.reinvocation.due.contains(&hook.uid) {
                continue;
            }
            let Some(def) = matching::meant(hook, request)? else {
                continue;
            };
            mutate(hook, index, &def, request).await?;
        }
        request.reinvocation.last = Some(request.object.clone());
        Ok(())
    }
}

/// Asks one hook and takes its patch.
async fn mutate(hook: &Hook, index: usize, def: &Def, request: &mut Request<'_>) -> Result<()> {
    let began = Instant::now();
    let done = match ask(hook, def, request, true).await {
        Ok(verdict) => patch(hook, def, request, verdict),
        Err(failure) => Err(failure),
    };
    count(hook, request, true, began, &done);
    let round = format!("round_{}_index_{index}", u8::from(request.reinvocation.again));
    let notes = request.notes;
    let changed = matches!(done, Ok(Some(_)));
    let which = json!({"configuration": hook.configuration, "webhook": hook.name, "mutated": changed});
    notes.annotate(
        format!("mutation.webhook.admission.k8s.io/{round}"),
        which.to_string(),
    );
    if let Ok(Some(patch)) = &done {
        let which = json!({"configuration": hook.configuration, "webhook": hook.name,
            "patch": patch, "patchType": "JSONPatch"});
        notes.annotate(
            format!("patch.webhook.admission.k8s.io/{round}"),
            which.to_string(),
        );
        request.reinvocation.require();
        request.reinvocation.wanted = true;
    }
    if hook.reinvoke && !request.reinvocation.asked.contains(&hook.uid) {
        request.reinvocation.asked.push(hook.uid.clone());
    }
    match done {
        Ok(_) => Ok(()),
        Err(Failure::Refused(status) | Failure::Unusable(status)) => Err(status),
        Err(Failure::Call(why)) if hook.fails_open => {
            tracing::warn!(webhook = %hook.name, why, "webhook failed, the request passes");
            notes.annotate(
                format!("failed-open.mutation.webhook.admission.k8s.io/{round}"),
                hook.name.clone(),
            );
            Ok(())
        }
        Err(Failure::Call(why)) => Err(failed_calling(&hook.name, &why)),
    }
}

/// Applies a verdict's patch; gives the patch when the object changed.
fn patch(
    hook: &Hook,
    def: &Def,
    request: &mut Request<'_>,
    verdict: Verdict,
) -> Result<Option<Value>, Failure> {
    if verdict.patch.is_empty() {
        return Ok(None);
    }
    let undecodable =
        |e: serde_json::Error| Failure::Call(format!("received undecodable patch in webhook response: {e}"));
    let operations: Value = serde_json::from_slice(&verdict.patch).map_err(undecodable)?;
    if operations.as_array().is_some_and(Vec::is_empty) {
        return Ok(None);
    }
    if verdict.patch_type != "JSONPatch" {
        return Err(Failure::Call(format!(
            "unsupported patch type {}",
            quote(&verdict.patch_type)
        )));
    }
    let (object, _) = request.objects_in(def);
    if object.is_null() {
        return Err(Failure::Unusable(
            Status::internal_error(&format!(
                "admission webhook {} attempted to modify the object, which is not supported for this operation",
                quote(&hook.name)
            ))
            .into(),
        ));
    }
    let patched = rkind_apimachinery::patch::json(&object, &verdict.patch)
        .map_err(|e| Failure::Unusable(Status::internal_error(&e.message).into()))?;
    let before = request.object.clone();
    request.take(def, patched).map_err(Failure::Unusable)?;
    if let Some(fault) = managed::fault(request.object) {
        request.notes.warn(format!(
            ".metadata.managedFields was in an invalid state after admission; this could be caused by an outdated mutating admission controller; please fix your requests: {fault}"
        ));
        match before["metadata"].get("managedFields") {
            Some(owners) => meta::set(request.object, "managedFields", owners.clone()),
            None => {
                meta::remove(request.object, "managedFields");
            }
        }
    }
    Ok((*request.object != before).then_some(operations))
}

/// `ValidatingAdmissionWebhook`.
pub(super) struct Validating(Hooks);

impl Default for Validating {
    fn default() -> Self {
        Validating(Hooks::new(
            "admissionregistration.k8s.io/validatingwebhookconfigurations",
        ))
    }
}

#[async_trait]
impl Validate for Validating {
    fn name(&self) -> &'static str {
        "ValidatingAdmissionWebhook"
    }

    fn shows(&self, core: &Core) -> bool {
        !self.0.get(&core.cache).is_empty()
    }

    async fn validate(&self, request: &Request<'_>) -> Result<()> {
        let hooks = self.0.get(&request.core.cache);
        if hooks.is_empty() || is_exempt(request) {
            return Ok(());
        }
        let mut meant = Vec::new();
        for hook in hooks.iter() {
            if let Some(def) = matching::meant(hook, request)? {
                meant.push((hook, def));
            }
        }
        let verdicts = join_all(
            meant
                .iter()
                .enumerate()
                .map(|(index, (hook, def))| validate(hook, index, def, request)),
        )
        .await;
        verdicts.into_iter().collect()
    }
}

async fn validate(hook: &Hook, index: usize, def: &Def, request: &Request<'_>) -> Result<()> {
    let began = Instant::now();
    let done = ask(hook, def, request, false).await;
    count(hook, request, false, began, &done);
    match done {
        Ok(_) => Ok(()),
        Err(Failure::Refused(status) | Failure::Unusable(status)) => Err(status),
        Err(Failure::Call(why)) if hook.fails_open => {
            tracing::warn!(webhook = %hook.name, why, "webhook failed, the request passes");
            request.notes.annotate(
                format!("failed-open.validating.webhook.admission.k8s.io/round_0_index_{index}"),
                hook.name.clone(),
            );
            Ok(())
        }
        Err(Failure::Call(why)) => Err(failed_calling(&hook.name, &why)),
    }
}

/// Asks one hook; the verdict allows.
async fn ask(hook: &Hook, def: &Def, request: &Request<'_>, mutating: bool) -> Result<Verdict, Failure> {
    if request.dry_run {
        match hook.dry_run {
            None => return Err(Failure::Call("Webhook SideEffects is nil".into())),
            Some(false) => {
                let why = format!("admission webhook {} does not support dry run", quote(&hook.name));
                return Err(Failure::Refused(Status::bad_request(why).into()));
            }
            Some(true) => {}
        }
    }
    let Some(version) = hook.review_version else {
        return Err(Failure::Call(
            "could not create admission objects: webhook does not accept known AdmissionReview versions (v1, v1beta1)"
                .into(),
        ));
    };
    let target: &Target = hook
        .target
        .as_ref()
        .map_err(|e| Failure::Call(format!("could not get REST client: {e}")))?;
    let uid = meta::new_uid();
    let (new, old) = request.objects_in(def);
    let body = review::ask(version, request.admission_request(&uid, def, new, old));
    let answer = request
        .core
        .webhooks
        .post(target, &body, hook.timeout, true)
        .await
        .map_err(|e| Failure::Call(format!("failed to call webhook: {e}")))?;
    let verdict = review::read(version, &uid, mutating, &answer)
        .map_err(|e| Failure::Call(format!("received invalid webhook response: {e}")))?;
    for (key, value) in &verdict.annotations {
        request
            .notes
            .annotate(format!("{}/{key}", hook.name), value.clone());
    }
    for warning in &verdict.warnings {
        request.notes.warn(warning.clone());
    }
    if verdict.allowed {
        Ok(verdict)
    } else {
        Err(Failure::Refused(review::refusal(&hook.name, &verdict.status)))
    }
}
