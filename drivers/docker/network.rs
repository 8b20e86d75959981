//! One bridge network per cluster.

use std::collections::HashMap;
use std::net::IpAddr;

use bollard::models::{Ipam, IpamConfig, NetworkCreateRequest};
use bollard::query_parameters::{InspectNetworkOptions, ListNetworksOptionsBuilder};
use ipnet::Ipv4Net;
use rkind_driver::{Error, Network, NetworkSpec, labels};

use crate::error::{backend, is_not_found, is_overlap, text};
use crate::subnet::{candidates, host_routes, overlap};
use crate::{DockerDriver, label_filter};

fn name(cluster: &str) -> String {
    format!("rkind-{cluster}")
}

pub(crate) async fn create(driver: &DockerDriver, spec: &NetworkSpec) -> Result<Network, Error> {
    let name = name(&spec.cluster);
    let doing = || format!("create the network {name}");
    match driver
        .docker
        .inspect_network(&name, None::<InspectNetworkOptions>)
        .await
    {
        Ok(_) => {
            return Err(Error::Exists {
                what: "network",
                name,
            });
        }
        Err(e) if is_not_found(&e) => {}
        Err(e) => return Err(backend(doing(), e)),
    }
    if let Some(subnet) = spec.subnet {
        return match try_create(driver, spec, &name, subnet).await {
            Ok(network) => Ok(network),
            Err(e) if is_overlap(&e) => Err(Error::SubnetInUse {
                subnet: subnet.to_string(),
                with: "another network".into(),
            }),
            Err(e) => Err(backend(doing(), e)),
        };
    }
    let mut taken = spec.avoid.clone();
    taken.extend(networks_of_engine(driver).await?);
    if driver.endpoint.is_local() {
        taken.extend(host_routes());
    }
    for subnet in candidates().filter(|c| !taken.iter().any(|t| overlap(t, c))) {
        match try_create(driver, spec, &name, subnet).await {
            Ok(network) => return Ok(network),
            // Somebody took it a moment ago: the engine decides, the next may be free.
            Err(e) if is_overlap(&e) => tracing::debug!(%subnet, error = text(&e), "subnet was taken"),
            Err(e) => return Err(backend(doing(), e)),
        }
    }
    Err(Error::NoSubnet)
}

async fn try_create(
    driver: &DockerDriver,
    spec: &NetworkSpec,
    name: &str,
    subnet: Ipv4Net,
) -> Result<Network, bollard::errors::Error> {
    let gateway = IpAddr::V4((u32::from(subnet.network()) + 1).into());
    let request = NetworkCreateRequest {
        name: name.to_owned(),
        driver: Some("bridge".to_owned()),
        ipam: Some(Ipam {
            driver: Some("default".to_owned()),
            config: Some(vec![IpamConfig {
                subnet: Some(subnet.to_string()),
                gateway: Some(gateway.to_string()),
                ..Default::default()
            }]),
            options: None,
        }),
        labels: Some(HashMap::from([(
            labels::CLUSTER.to_owned(),
            spec.cluster.clone(),
        )])),
        ..Default::default()
    };
    driver.docker.create_network(request).await?;
    Ok(Network {
        name: name.to_owned(),
        subnet,
        gateway,
    })
}

/// Subnets of all networks that the engine has.
async fn networks_of_engine(driver: &DockerDriver) -> Result<Vec<Ipv4Net>, Error> {
    let networks = driver
        .docker
        .list_networks(None)
        .await
        .map_err(|e| backend("list the networks", e))?;
    let configs = networks.into_iter().filter_map(|n| n.ipam?.config).flatten();
    Ok(configs.filter_map(|c| c.subnet?.parse().ok()).collect())
}

pub(crate) async fn find(driver: &DockerDriver, cluster: &str) -> Result<Option<Network>, Error> {
    let options = ListNetworksOptionsBuilder::default()
        .filters(&label_filter(Some(cluster)))
        .build();
    let networks = driver
        .docker
        .list_networks(Some(options))
        .await
        .map_err(|e| backend(format!("find the network of cluster {cluster}"), e))?;
    Ok(networks.into_iter().find_map(|network| {
        let config = network.ipam?.config?.into_iter().next()?;
        let subnet: Ipv4Net = config.subnet?.parse().ok()?;
        let gateway = config.gateway.and_then(|g| g.parse().ok());
        let first = IpAddr::V4((u32::from(subnet.network()) + 1).into());
        Some(Network {
            name: network.name?,
            subnet,
            gateway: gateway.unwrap_or(first),
        })
    }))
}

pub(crate) async fn delete(driver: &DockerDriver, cluster: &str) -> Result<usize, Error> {
    let doing = || format!("delete the network of cluster {cluster}");
    let options = ListNetworksOptionsBuilder::default()
        .filters(&label_filter(Some(cluster)))
        .build();
    let networks = driver
        .docker
        .list_networks(Some(options))
        .await
        .map_err(|e| backend(doing(), e))?;
    let mut count = 0;
    for id in networks.into_iter().filter_map(|n| n.id) {
        match driver.docker.remove_network(&id).await {
            Ok(()) => count += 1,
            Err(e) if is_not_found(&e) => {}
            Err(e) => return Err(backend(doing(), e)),
        }
    }
    Ok(count)
}
