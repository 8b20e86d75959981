//! Finding, updating and making the ReplicaSet with the Deployment's template.

use k8s_openapi::api::apps::v1::{DeploymentCondition, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use rkind_client::{ErrorExt, EventType, owner};

use super::sets::{self, HASH_LABEL, Replicas, Sets};
use super::{Run, annotations, progress, rolling};
use crate::common::owned::api_message;
use crate::common::{ReconcileError, conditions, hash};

impl Run<'_> {
    /// Brings the new set's annotations and the revision up to date; makes the set when it is missing
    /// and `create`.
    pub(super) async fn sync_new_set(&mut self, sets: &mut Sets, create: bool) -> Result<(), ReconcileError> {
        let revision = sets.last_old_revision() + 1;
        let Some(new) = &mut sets.new else {
            return if create {
                self.create_new_set(sets, revision).await
            } else {
                Ok(())
            };
        };
        let mut changed = new.clone();
        let annotated = annotations::set_revision(&mut changed, &self.deployment, revision);
        let min_ready = sets::spec(&self.deployment).min_ready_seconds.unwrap_or(0);
        let spec = changed.spec.get_or_insert_default();
        let delayed = spec.min_ready_seconds.unwrap_or(0) != min_ready;
        spec.min_ready_seconds = Some(min_ready).filter(|s| *s != 0);
        if annotated || delayed {
            let api = self.controller.replica_sets(self.key);
            *new = api.replace(new.name(), &PostParams::default(), &changed).await?;
        }
        let name = new.name().to_owned();
        let written = annotations::get(&new.metadata, annotations::REVISION)
            .unwrap_or_default()
            .to_owned();
        self.write_revision(&written).await?;
        let known = conditions::find(&self.status().conditions, progress::PROGRESSING).is_some();
        if progress::has_deadline(&self.deployment) && !known {
            let message = format!("Found new replica set \"{name}\"");
            self.set_progress("True", "FoundNewReplicaSet", message).await?;
        }
        Ok(())
    }

    async fn set_progress(
        &mut self,
        value: &str,
        reason: &str,
        message: String,
    ) -> Result<(), ReconcileError> {
        let mut status = self.status();
        let condition = DeploymentCondition {
            type_: progress::PROGRESSING.into(),
            status: value.into(),
            reason: Some(reason.into()),
            message: Some(message),
            last_update_time: Some(self.now.clone()),
            last_transition_time: Some(self.now.clone()),
        };
        conditions::set(&mut status.conditions, condition);
        self.write_status(status).await
    }

    async fn create_new_set(&mut self, sets: &mut Sets, revision: i64) -> Result<(), ReconcileError> {
        let set = self.new_set(sets, revision);
        let (name, size) = (set.name().to_owned(), set.wanted());
        let api = self.controller.replica_sets(self.key);
        let mut existed = false;
        let created = match api.create(&PostParams::default(), &set).await {
            Ok(created) => created,
            Err(error) if error.is_already_exists() => {
                existed = true;
                self.resolve_collision(api.get(&name).await?, error).await?
            }
            Err(error) if error.is_namespace_terminating() => return Err(error.into()),
            Err(error) => {
                let message = format!(
                    "Failed to create new replica set \"{name}\": {}",
                    api_message(&error)
                );
                if progress::has_deadline(&self.deployment) {
                    self.set_progress("False", "ReplicaSetCreateError", message.clone())
                        .await?;
                }
                let recorder = &self.controller.recorder;
                recorder.event(
                    &self.deployment,
                    EventType::Warning,
                    "ReplicaSetCreateError",
                    message,
                );
                return Err(error.into());
            }
        };
        if !existed && size > 0 {
            self.tell_scaled(&name, 0, size);
        }
        let written = annotations::get(&created.metadata, annotations::REVISION)
            .unwrap_or_default()
            .to_owned();
        sets.new = Some(created);
        self.write_revision(&written).await?;
        if !existed && progress::has_deadline(&self.deployment) {
            let message = format!("Created new replica set \"{name}\"");
            self.set_progress("True", "NewReplicaSetCreated", message).await?;
        }
        Ok(())
    }

    /// The name is taken: by the set we want and the cache doesn't know yet, or by another, in which
    /// case the next run makes another name.
    async fn resolve_collision(
        &mut self,
        existing: ReplicaSet,
        error: kube::Error,
    ) -> Result<ReplicaSet, ReconcileError> {
        let uid = self.deployment.metadata.uid.as_deref().unwrap_or_default();
        let template = existing.spec.as_ref().and_then(|s| s.template.as_ref());
        let wanted = sets::without_hash(&sets::spec(&self.deployment).template);
        let same = template.is_some_and(|template| sets::without_hash(template) == wanted);
        if owner::is_controlled_by(&existing.metadata, uid) && same {
            return Ok(existing);
        }
        let mut status = self.status();
        status.collision_count = Some(status.collision_count.unwrap_or(0) + 1);
        self.write_status(status).await?;
        Err(error.into())
    }

    fn new_set(&self, sets: &Sets, revision: i64) -> ReplicaSet {
        let spec = sets::spec(&self.deployment);
        let collisions = self.status().collision_count;
        let hash = hash::template_hash(&spec.template, collisions);
        let mut template = spec.template.clone();
        let labels = template
            .metadata
            .get_or_insert_default()
            .labels
            .get_or_insert_default();
        labels.insert(HASH_LABEL.into(), hash.clone());
        let labels = labels.clone();
        let mut selector = spec.selector.clone();
        selector
            .match_labels
            .get_or_insert_default()
            .insert(HASH_LABEL.into(), hash.clone());
        let others = sets.old.iter().map(Replicas::wanted).sum();
        let mut set = ReplicaSet {
            metadata: ObjectMeta {
                name: Some(format!("{}-{hash}", self.key.name)),
                namespace: self.key.namespace.clone(),
                labels: Some(labels),
                owner_references: Some(vec![owner::controller_ref(&self.deployment)]),
                ..Default::default()
            },
            spec: Some(ReplicaSetSpec {
                replicas: Some(rolling::new_size(&self.deployment, 0, others)),
                min_ready_seconds: spec.min_ready_seconds.filter(|s| *s != 0),
                selector,
                template: Some(template),
            }),
            status: None,
        };
        annotations::set_revision(&mut set, &self.deployment, revision);
        annotations::set_sizes(&mut set, &self.deployment);
        set
    }
}
