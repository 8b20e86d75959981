//! Evictions: a pod is deleted unless a PodDisruptionBudget forbids it, and its status says why it went.
//! Upstream: `pkg/registry/core/pod/storage/eviction.go`.

use std::sync::Arc;

use axum::body::Body;
use http::Response;
use rkind_apimachinery::{
    field::{Error, ErrorList, Path},
    meta::{self, GroupResource},
    resources,
    selector::LabelSelector,
    status::{Cause, Details, Status},
};
use serde_json::{Value, json};

use super::{
    Context, condition,
    create::Write,
    read,
    render::Payload,
    subresource::{body, created},
};
use crate::{cacher::Obj, error::Result, request::options::DeleteOptions};

/// How often a deletion is tried against a pod that moves.
const TRIES: usize = 20;

/// From this many on that the disruption controller has not seen, budgets allow no more.
const MAX_DISRUPTED_PODS: usize = 2000;

const REFUSED: &str = "Cannot evict pod as it would violate the pod's disruption budget.";

/// Answers `POST` on `pods/{name}/eviction`.
///
/// # Errors
/// 400, 403, 404, 409 or 422; 429 when a budget allows no disruption; 500 when several budgets match.
pub(super) async fn create(ctx: &Context, request: Body) -> Result<Response<Body>> {
    let (mut eviction, _) = body(ctx, request).await?;
    let name = ctx.info.path_name();
    if meta::name(&eviction) != name {
        return Err(Status::bad_request("name in URL does not match name in Eviction object").into());
    }
    let wanted = &eviction["deleteOptions"];
    if wanted["ignoreStoreReadErrorWithClusterBreakingPotential"] == true {
        let path = Path::new("deleteOptions").child("ignoreStoreReadErrorWithClusterBreakingPotential");
        let detail = "can not be set for pod eviction, try after removing the option";
        let errors = ErrorList::from(vec![Error::invalid(&path, true, detail)]);
        return Err(Status::invalid("policy", "Eviction", name, &errors).into());
    }
    let mut options =
        DeleteOptions::parse(None, Some(if wanted.is_object() { wanted } else { &Value::Null }))?;
    let mut write = Write::of(ctx, ctx.write_options("CreateOptions")?);
    write.options.dry_run |= options.dry_run;
    options.dry_run = write.options.dry_run;
    write.admit_creation(name, &mut eviction).await?;
    write.admitted = true;
    write.untracked = true;
    Evicting {
        ctx,
        write,
        name,
        options,
    }
    .run()
    .await?;
    created(ctx)
}

struct Evicting<'a> {
    ctx: &'a Context,
    /// On the pod, already admitted.
    write: Write,
    name: &'a str,
    /// As the client wants them.
    options: DeleteOptions,
}

impl Evicting<'_> {
    async fn run(&self) -> Result<()> {
        let mut tries = 1;
        let pod = loop {
            let ctx = self.ctx;
            let pod = read::current(&ctx.core, &ctx.def, &ctx.info.namespace, self.name).await?;
            let value = pod.to_value();
            if !needs_no_budget(&value) {
                break pod;
            }
            // A pod that is not over might become ready meanwhile, and then a budget protects it.
            let racing = !is_over(&value) && self.options.precondition_version.is_none();
            match self.delete(racing.then(|| meta::resource_version(&value))).await {
                Err(error) if error.code == 409 && racing && tries < TRIES => tries += 1,
                done => return done,
            }
        };
        let value = pod.to_value();
        let Some(budget) = self.budget(&pod).await? else {
            return self.delete(None).await;
        };
        if !condition::is_true(&value["status"], "Ready") && disrupts_nobody(&budget.to_value()) {
            let done = self.delete(Some(meta::resource_version(&value))).await;
            return done.map_err(|error| {
                if error.code == 409 && self.options.precondition_version.is_none() {
                    unsettled(budget.name())
                } else {
                    error
                }
            });
        }
        self.take_from(budget.name()).await?;
        self.delete(None).await
    }

    /// Marks the pod and deletes it, at the given version only if one is given.
    async fn delete(&self, version: Option<&str>) -> Result<()> {
        let mut options = self.options.clone();
        if let Some(version) = version {
            options.precondition_version = Some(version.to_owned());
        }
        if !options.dry_run {
            let marked = self.mark(&options).await?;
            if let Some(version) = &mut options.precondition_version {
                // What changed it since is the mark.
                *version = marked;
            }
        }
        let mut write = self.write.clone();
        write.sub = "";
        write.delete(self.name, &options).await.map(|_| ())
    }

    /// Sets the condition `DisruptionTarget`; gives the version that has it.
    async fn mark(&self, options: &DeleteOptions) -> Result<String> {
        let mut write = self.write.clone();
        write.sub = "status";
        write.retry = true;
        let checked = |what: &str, wanted: Option<&String>, found: &str, fate: &str| -> Result<()> {
            match wanted {
                Some(wanted) if !wanted.is_empty() && wanted != found => Err(Status::conflict(
                    &GroupResource::new("", "Pod"),
                    self.name,
                    &format!(
                        "the {what} in the precondition ({wanted}) does not match the {what} in record ({found}). The object might have been {fate}"
                    ),
                )
                .into()),
                _ => Ok(()),
            }
        };
        let marked = write
            .change(self.name, |old| {
                checked("UID", options.precondition_uid.as_ref(), meta::uid(old), "deleted and then recreated")?;
                let version = meta::resource_version(old);
                checked("ResourceVersion", options.precondition_version.as_ref(), version, "modified")?;
                let mut new = old.clone();
                let target = json!({"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
                    "message": "Eviction API: evicting"});
                condition::set(&mut new["status"], target, &meta::now());
                Ok(new)
            })
            .await?;
        Ok(match marked.payload {
            Payload::Stored(pod) => pod.revision.to_string(),
            Payload::Tree(pod) => meta::resource_version(&pod).to_owned(),
        })
    }

    /// The budget that protects a pod.
    async fn budget(&self, pod: &Obj) -> Result<Option<Arc<Obj>>> {
        let core = &self.ctx.core;
        let Some(budgets) = core.cache.cacher("policy/poddisruptionbudgets") else {
            return Ok(None);
        };
        let snapshot = budgets.snapshot(core.cache.catch_up().await?);
        let scope = format!("{}/", self.ctx.info.namespace);
        let mut matching = snapshot.range(&scope, None).filter(|budget| {
            LabelSelector::from_meta(&budget.to_value()["spec"]["selector"])
                .is_ok_and(|selector| selector.matches_by(|key| pod.labels().get(key)))
        });
        let first = matching.next().cloned();
        if matching.next().is_some() {
            // Upstream's answer has no reason either.
            let why = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
            return Err(Status::failure(500, "", why).into());
        }
        Ok(first)
    }

    /// Takes one disruption from a budget, or refuses.
    async fn take_from(&self, budget: &str) -> Result<()> {
        let def =
            resources::find("policy", "v1", "poddisruptionbudgets").ok_or_else(Status::unknown_resource)?;
        let mut write = Write::internal(&self.ctx.core, def, &self.ctx.info.namespace);
        write.admitted = true;
        write.sub = "status";
        write.retry = true;
        write.options.dry_run = self.options.dry_run;
        write
            .change(budget, |old| disrupted(old, self.name))
            .await
            .map(|_| ())
    }
}

fn is_over(pod: &Value) -> bool {
    meta::is_deleting(pod) || matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
}

/// What serves nobody yet or no more is not protected.
fn needs_no_budget(pod: &Value) -> bool {
    is_over(pod) || pod["status"]["phase"] == "Pending"
}

/// Whether a pod that is not ready may go without being counted, as `unhealthyPodEvictionPolicy` says
/// (KEP-3017).
fn disrupts_nobody(budget: &Value) -> bool {
    let status = &budget["status"];
    let count = |field: &str| status[field].as_i64().unwrap_or(0);
    let desired = count("desiredHealthy");
    budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
        || (count("currentHealthy") >= desired && desired > 0)
}

/// A budget with one disruption less.
fn disrupted(budget: &Value, pod: &str) -> Result<Value> {
    let name = meta::name(budget);
    let status = &budget["status"];
    let count = |field: &str| status[field].as_i64().unwrap_or(0);
    if count("observedGeneration") < meta::generation(budget) {
        return Err(unsettled(name));
    }
    let forbidden = |why: &str| {
        let resource = GroupResource::new("policy", "poddisruptionbudget");
        Err(Status::forbidden(&resource, name, why).into())
    };
    let allowed = count("disruptionsAllowed");
    if allowed < 0 {
        return forbidden("pdb disruptions allowed is negative");
    }
    if status["disruptedPods"]
        .as_object()
        .is_some_and(|pods| pods.len() > MAX_DISRUPTED_PODS)
    {
        return forbidden("DisruptedPods map too big - too many evictions not confirmed by PDB controller");
    }
    if allowed == 0 {
        return Err(refused(0, why_not(name, status)));
    }
    let mut new = budget.clone();
    let observed = status["observedGeneration"].clone();
    let status = &mut new["status"];
    status["disruptionsAllowed"] = json!(allowed - 1);
    if allowed == 1 {
        let insufficient = json!({"type": "DisruptionAllowed", "status": "False", "reason": "InsufficientPods",
            "message": "", "observedGeneration": observed});
        condition::set(status, insufficient, &meta::now());
    }
    // The disruption controller counts the pod as gone before it sees the deletion.
    status["disruptedPods"][pod] = json!(meta::now());
    Ok(new)
}

/// Why a budget allows nothing.
fn why_not(name: &str, status: &Value) -> String {
    let count = |field: &str| status[field].as_i64().unwrap_or(0);
    let (healthy, desired) = (count("currentHealthy"), count("desiredHealthy"));
    let condition = condition::find(status, "DisruptionAllowed");
    let said = condition["message"].as_str().unwrap_or_default();
    let reason = condition["reason"].as_str().unwrap_or_default();
    let told = condition["status"] == "False" && !said.is_empty();
    // What is counted is worth nothing once the count has failed.
    if told && reason == "SyncFailed" {
        return format!(
            "The disruption budget {name} does not allow evicting pods currently because it failed sync: {said}"
        );
    }
    if healthy <= desired {
        return format!(
            "The disruption budget {name} needs {desired} healthy pods and has {healthy} currently"
        );
    }
    let why = if told {
        format!(" ({reason}): {said}")
    } else {
        String::new()
    };
    format!("The disruption budget {name} does not allow evicting pods currently{why}")
}

/// 429 until the disruption controller has seen the budget as it is.
fn unsettled(budget: &str) -> Box<Status> {
    refused(
        10,
        format!("The disruption budget {budget} is still being processed by the server."),
    )
}

fn refused(retry_after_seconds: u32, why: String) -> Box<Status> {
    let mut status = Status::too_many_requests(REFUSED, retry_after_seconds);
    let cause = Cause {
        reason: "DisruptionBudget".into(),
        message: why,
        field: String::new(),
    };
    status.details = Some(Box::new(Details {
        causes: vec![cause],
        retry_after_seconds,
        ..Default::default()
    }));
    status.into()
}
