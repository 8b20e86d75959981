//! `rkind status`

use rkind_cluster::{ApiState, ClusterState, NodeStatus, Status};
use rkind_config::NodeRole;
use rkind_driver::NodeState;

use super::Outcome;
use crate::args::{Format, Global, OutputArgs};
use crate::exit::ExitStatus;
use crate::{context, printer};

pub(crate) async fn run(global: &Global, args: OutputArgs) -> Outcome {
    let name = context::profile(global, None)?;
    let locations = context::locations(None)?;
    let clusters = context::clusters(global).await?;
    let status = clusters.status(&name, &locations).await?;
    match args.output {
        Format::Json => printer::json(&status),
        Format::Yaml => printer::yaml(&status),
        Format::Text => printer::data(&text(&status)),
    }
    let well = status.state == ClusterState::Running
        && status.api == ApiState::Running
        && status.nodes.iter().all(|n| n.ready == Some(true));
    Ok(if well {
        ExitStatus::Success
    } else {
        ExitStatus::NotRunning
    })
}

fn host(state: NodeState) -> &'static str {
    match state {
        NodeState::Running => "Running",
        NodeState::Paused => "Paused",
        NodeState::Created | NodeState::Stopped => "Stopped",
    }
}

fn kubelet(node: &NodeStatus) -> &'static str {
    match (node.host, node.ready) {
        (NodeState::Running, Some(true)) => "Running",
        (NodeState::Running, _) => "NotReady",
        _ => "Stopped",
    }
}

/// minikube's form.
fn text(status: &Status) -> String {
    let nodes = status.nodes.iter().map(|node| {
        let mut lines = vec![node.name.clone()];
        let control_plane = node.role == NodeRole::ControlPlane;
        lines.push(format!(
            "type: {}",
            if control_plane { "Control Plane" } else { "Worker" }
        ));
        lines.push(format!("host: {}", host(node.host)));
        lines.push(format!("kubelet: {}", kubelet(node)));
        if control_plane {
            lines.push(match &status.api {
                ApiState::Running => "apiserver: Running".to_owned(),
                ApiState::Stopped => "apiserver: Stopped".to_owned(),
                ApiState::Error(message) => format!("apiserver: Error ({message})"),
            });
            let kubeconfig = if status.kubeconfig {
                "Configured"
            } else {
                "Misconfigured"
            };
            lines.push(format!("kubeconfig: {kubeconfig}"));
        }
        lines.join("\n") + "\n"
    });
    nodes.collect::<Vec<_>>().join("\n")
}
