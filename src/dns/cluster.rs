//! What the zone asks about the cluster, answered from the informers' caches.

use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use rkind_client::{Informer, Informers, ObjectKey};

use crate::zone::Cluster;

const BY_SERVICE: &str = "dns/service";
const BY_ADDRESS: &str = "dns/address";

/// The name of the Service that a slice belongs to.
fn service_name(slice: &EndpointSlice) -> Option<&String> {
    slice.metadata.labels.as_ref()?.get("kubernetes.io/service-name")
}

/// Over live caches.
#[derive(Clone)]
pub(crate) struct Cached {
    services: Informer<Service>,
    slices: Informer<EndpointSlice>,
    namespaces: Informer<Namespace>,
}

impl Cached {
    pub(crate) fn new(informers: &Informers) -> Self {
        let (services, slices) = (informers.get::<Service>(), informers.get::<EndpointSlice>());
        services.index(BY_ADDRESS, |service| {
            let spec = service.spec.as_ref();
            spec.and_then(|s| {
                s.cluster_ips
                    .clone()
                    .or_else(|| s.cluster_ip.clone().map(|ip| vec![ip]))
            })
            .unwrap_or_default()
        });
        slices.index(BY_SERVICE, |slice| {
            let namespace = slice.metadata.namespace.as_deref().unwrap_or_default();
            service_name(slice)
                .map(|name| format!("{namespace}/{name}"))
                .into_iter()
                .collect()
        });
        slices.index(BY_ADDRESS, |slice| {
            slice.endpoints.iter().flat_map(|e| e.addresses.clone()).collect()
        });
        Self {
            services,
            slices,
            namespaces: informers.get(),
        }
    }

    pub(crate) async fn synced(&self) {
        tokio::join!(
            self.services.synced(),
            self.slices.synced(),
            self.namespaces.synced()
        );
    }
}

impl Cluster for Cached {
    fn service(&self, namespace: &str, name: &str) -> Option<Arc<Service>> {
        self.services.get(&ObjectKey::new(namespace, name))
    }

    fn slices(&self, namespace: &str, service: &str) -> Vec<Arc<EndpointSlice>> {
        self.slices
            .by_index(BY_SERVICE, &format!("{namespace}/{service}"))
    }

    fn has_namespace(&self, name: &str) -> bool {
        !self.namespaces.is_synced() || self.namespaces.get(&ObjectKey::cluster(name)).is_some()
    }

    fn services_at(&self, address: IpAddr) -> Vec<Arc<Service>> {
        self.services.by_index(BY_ADDRESS, &address.to_string())
    }

    fn slices_with(&self, address: IpAddr) -> Vec<Arc<EndpointSlice>> {
        self.slices.by_index(BY_ADDRESS, &address.to_string())
    }
}
