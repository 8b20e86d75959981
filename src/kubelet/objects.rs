//! ConfigMaps, Secrets, claims: single objects that pods refer to, read one by one (a node must
//! not list all of them) and kept for a moment, since many pods refer to the same.

use std::collections::HashMap;
use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolume, PersistentVolumeClaim, Pod, Secret};
use kube::{Api, Resource};
use parking_lot::Mutex;
use rkind_client::{Client, ErrorExt, chain};
use serde::de::DeserializeOwned;

use crate::env::Sources;
use crate::pod::PodExt;

/// How old a copy may be.
const MAX_AGE: Duration = Duration::from_secs(2);
/// How long a copy is kept for the case that the API server does not answer.
const KEPT: Duration = Duration::from_secs(600);

struct Cached<K> {
    object: Option<Arc<K>>,
    read: Instant,
}

struct Kind<K>(Mutex<HashMap<(String, String), Cached<K>>>);

impl<K> Kind<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    async fn get(&self, client: &Client, namespace: &str, name: &str) -> Result<Option<Arc<K>>, String> {
        let key = (namespace.to_string(), name.to_string());
        if let Some(cached) = self.0.lock().get(&key)
            && cached.read.elapsed() < MAX_AGE
        {
            return Ok(cached.object.clone());
        }
        let api: Api<K> = Api::namespaced(client.clone(), namespace);
        let object = match api.get_opt(name).await {
            Ok(object) => object.map(Arc::new),
            Err(error) => {
                // Without an API server a container restarts with what was true last.
                let known = self.0.lock().get(&key).and_then(|cached| cached.object.clone());
                return known.map(Some).ok_or_else(|| chain(&error));
            }
        };
        let mut map = self.0.lock();
        map.retain(|_, cached| cached.read.elapsed() < KEPT);
        map.insert(
            key,
            Cached {
                object: object.clone(),
                read: Instant::now(),
            },
        );
        Ok(object)
    }
}

/// The objects. One per agent.
pub(crate) struct Objects {
    client: Client,
    config_maps: Kind<ConfigMap>,
    secrets: Kind<Secret>,
}

impl Objects {
    pub(crate) fn new(client: Client) -> Self {
        Self {
            client,
            config_maps: Kind(Mutex::default()),
            secrets: Kind(Mutex::default()),
        }
    }

    /// A ConfigMap; a missing one is an error unless `optional`.
    pub(crate) async fn config_map(
        &self,
        namespace: &str,
        name: &str,
        optional: bool,
    ) -> Result<Option<Arc<ConfigMap>>, String> {
        match self.config_maps.get(&self.client, namespace, name).await? {
            None if !optional => Err(format!("configmap \"{name}\" not found")),
            found => Ok(found),
        }
    }

    /// A Secret; a missing one is an error unless `optional`.
    pub(crate) async fn secret(
        &self,
        namespace: &str,
        name: &str,
        optional: bool,
    ) -> Result<Option<Arc<Secret>>, String> {
        match self.secrets.get(&self.client, namespace, name).await? {
            None if !optional => Err(format!("secret \"{name}\" not found")),
            found => Ok(found),
        }
    }

    /// Where a bound claim's volume lies on this machine: volumes of kind hostPath and local.
    pub(crate) async fn claim_path(&self, namespace: &str, name: &str) -> Result<PathBuf, String> {
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), namespace);
        let claim = claims.get(name).await.map_err(|e| match e.is_not_found() {
            true => format!("persistentvolumeclaim \"{name}\" not found"),
            false => chain(&e),
        })?;
        let bound = claim.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Bound");
        let volume = claim
            .spec
            .as_ref()
            .and_then(|s| s.volume_name.clone())
            .filter(|v| bound && !v.is_empty());
        let Some(volume) = volume else {
            return Err(format!("PVC is not bound: {namespace}/{name}"));
        };
        let volumes: Api<PersistentVolume> = Api::all(self.client.clone());
        let volume = volumes.get(&volume).await.map_err(|e| chain(&e))?;
        let spec = volume.spec.unwrap_or_default();
        let path = spec.host_path.map(|h| h.path).or(spec.local.map(|l| l.path));
        path.map(PathBuf::from).ok_or_else(|| {
            format!("the volume of claim {namespace}/{name} is neither hostPath nor local: no plugin for it on this node")
        })
    }

    /// Reads everything a container's environment refers to.
    pub(crate) async fn env_sources(
        &self,
        pod: &Pod,
        container: &k8s_openapi::api::core::v1::Container,
    ) -> Result<EnvSources, String> {
        let mut sources = EnvSources::default();
        let namespace = pod.namespace();
        let (mut maps, mut secrets) = (Vec::new(), Vec::new());
        for from in container.env_from.iter().flatten() {
            maps.extend(from.config_map_ref.as_ref().map(|r| r.name.clone()));
            secrets.extend(from.secret_ref.as_ref().map(|r| r.name.clone()));
        }
        for variable in container.env.iter().flatten() {
            let Some(source) = &variable.value_from else {
                continue;
            };
            maps.extend(source.config_map_key_ref.as_ref().map(|r| r.name.clone()));
            secrets.extend(source.secret_key_ref.as_ref().map(|r| r.name.clone()));
        }
        for name in maps {
            if let Some(map) = self.config_map(namespace, &name, true).await? {
                sources.config_maps.insert(name, map);
            }
        }
        for name in secrets {
            if let Some(secret) = self.secret(namespace, &name, true).await? {
                sources.secrets.insert(name, secret);
            }
        }
        Ok(sources)
    }
}

/// Objects read beforehand for [`crate::env::container_env`].
#[derive(Default)]
pub(crate) struct EnvSources {
    config_maps: HashMap<String, Arc<ConfigMap>>,
    secrets: HashMap<String, Arc<Secret>>,
}

impl Sources for EnvSources {
    fn config_map(&self, name: &str) -> Option<Arc<ConfigMap>> {
        self.config_maps.get(name).cloned()
    }
    fn secret(&self, name: &str) -> Option<Arc<Secret>> {
        self.secrets.get(name).cloned()
    }
}
