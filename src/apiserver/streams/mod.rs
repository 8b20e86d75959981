//! Requests that end at a kubelet or a pod: logs, exec, attach, port-forward, proxy.
//!
//! The API server finds where, checks, and then passes bytes: WebSocket and SPDY are spoken by the
//! kubelet's own streaming server, except for logs, for port-forwards in messages and for commands in version 5,
//! which kubelets know as SPDY only. Watches, too, may come over a [`websocket`].

pub(crate) mod kubelet;
mod options;
pub(crate) mod proxy;
mod spdy_messages;
mod translate;
pub(crate) mod tunnel;
pub(crate) mod websocket;

use axum::body::Body;
use http::{Method, Request, Response, StatusCode, header};
use rkind_apimachinery::{meta, status::Status};
use rkind_remotecommand::StreamOptions;
use serde_json::Value;

use crate::{
    authz::Attributes,
    core::group_resource,
    error::Result,
    registry::{Context, judge::admit_connect, read},
    request::info::{query_pairs, truthy},
};

/// pods/log.
///
/// # Errors
/// 400, 404, or what the kubelet says.
pub(crate) async fn logs(ctx: &Context, mut request: Request<Body>) -> Result<Response<Body>> {
    let asked = options::logs(ctx.info.path_name(), &query_pairs(ctx.query()))?;
    let pod = pod(ctx).await?;
    let container = container(&pod, &asked.container, ctx.info.path_name())?;
    let Some(node) = pod["spec"]["nodeName"].as_str().filter(|n| !n.is_empty()) else {
        // Nothing runs that could have said anything.
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        return Ok(response);
    };
    let mut path = format!(
        "/containerLogs/{}/{}/{container}",
        meta::namespace(&pod),
        meta::name(&pod)
    );
    if !asked.query.is_empty() {
        path = format!("{path}?{}", asked.query);
    }
    let address = node_of(ctx, node)?;
    let inner = Request::get(path)
        .body(Body::empty())
        .map_err(|e| Status::bad_request(format!("options make no valid request: {e}")))?;
    let response = ctx.core.kubelet.send(&address, inner).await?;
    let code = response.status();
    if code.is_success() && websocket::is_wanted(request.headers()) {
        let body = Body::new(response.into_body());
        return Ok(websocket::send(&mut request, body, ctx.core.shutdown.clone()));
    }
    if code.is_success() {
        let mut out = Response::new(Body::new(response.into_body()));
        out.headers_mut()
            .insert(header::CONTENT_TYPE, http::HeaderValue::from_static("text/plain"));
        return Ok(out);
    }
    Err(kubelet_error(
        code,
        response.into_body(),
        &format!("container {container:?} in pod {:?}", meta::name(&pod)),
    )
    .await)
}

/// What a kubelet refused, as the client's error.
async fn kubelet_error(code: StatusCode, body: hyper::body::Incoming, what: &str) -> Box<Status> {
    use http_body_util::BodyExt as _;
    let text = match http_body_util::Limited::new(body, 64 * 1024).collect().await {
        Ok(collected) => String::from_utf8_lossy(&collected.to_bytes()).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    match code {
        StatusCode::NOT_FOUND => Status::failure(
            404,
            "NotFound",
            format!("the server could not find the requested resource: {text}"),
        )
        .into(),
        StatusCode::BAD_REQUEST => Status::bad_request(text).into(),
        _ => Status::internal_error(&format!("{what}: kubelet answered {code}: {text}")).into(),
    }
}

/// pods/exec, pods/attach, pods/portforward.
///
/// # Errors
/// 400, 403, 404, or that the kubelet cannot be reached.
pub(crate) async fn connect(ctx: &Context, sub: &str, mut request: Request<Body>) -> Result<Response<Body>> {
    let pairs = query_pairs(ctx.query());
    let ports = match sub {
        "portforward" => options::ports(&pairs)?,
        _ => Vec::new(),
    };
    let pod = pod(ctx).await?;
    // A WebSocket begins with GET; what it does is a creation (KEP-2862 and upstream's
    // AuthorizePodWebsocketUpgradeCreatePermission).
    let wanted = Attributes {
        verb: "create".into(),
        ..Attributes::of(&ctx.info)
    };
    ctx.core.authorizer.check(&ctx.user, &wanted).await?;
    admit_connect(ctx).await?;
    let name = meta::name(&pod).to_owned();
    if matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed")) && sub != "portforward" {
        let phase = pod["status"]["phase"].as_str().unwrap_or_default();
        return Err(Status::bad_request(format!(
            "cannot exec into a container in a completed pod; current phase is {phase}"
        ))
        .into());
    }
    let mut query: Vec<String> = Vec::new();
    let base = if sub == "portforward" {
        query.extend(ports.iter().map(|port| format!("port={port}")));
        format!("/portForward/{}/{name}", meta::namespace(&pod))
    } else {
        let wanted = pairs
            .iter()
            .find(|(k, _)| k == "container")
            .map(|(_, v)| v.as_str())
            .unwrap_or_default();
        let container = container(&pod, wanted, &name)?;
        for (key, value) in &pairs {
            match key.as_str() {
                "command" => query.push(format!("command={}", encode(value))),
                "stdin" if truthy(value) => query.push("input=1".into()),
                "stdout" if truthy(value) => query.push("output=1".into()),
                "stderr" if truthy(value) => query.push("error=1".into()),
                "tty" if truthy(value) => query.push("tty=1".into()),
                _ => {}
            }
        }
        let verb = if sub == "exec" { "exec" } else { "attach" };
        format!("/{verb}/{}/{name}/{container}", meta::namespace(&pod))
    };
    let Some(node) = pod["spec"]["nodeName"].as_str().filter(|n| !n.is_empty()) else {
        return Err(Status::bad_request(format!("pod {name} does not have a host assigned")).into());
    };
    let path = if query.is_empty() {
        base
    } else {
        format!("{base}?{}", query.join("&"))
    };
    let address = node_of(ctx, node)?;
    if !tunnel::is_upgrade(request.headers()) {
        return Err(Status::bad_request("Upgrade request required").into());
    }
    let shutdown = ctx.core.shutdown.clone();
    if sub == "portforward" && spdy_messages::is_wanted(request.headers()) {
        let sender = ctx.core.kubelet.connect(&address).await?;
        return spdy_messages::serve(sender, &path, &mut request, shutdown).await;
    }
    if sub != "portforward" && translate::is_wanted(request.headers()) {
        let options = StreamOptions::parse(&pairs);
        let command = translate::Command {
            address,
            path,
            options,
        };
        return translate::serve(&ctx.core, command, &mut request, shutdown);
    }
    // WebSocket begins with GET, SPDY with whatever the client chose.
    let method = if request.method() == Method::GET {
        Method::GET
    } else {
        Method::POST
    };
    let inner = tunnel::upgrade_request(method, &path, request.headers())?;
    let sender = ctx.core.kubelet.connect(&address).await?;
    tunnel::tunnel(sender, inner, &mut request, shutdown).await
}

/// Where a pod's kubelet is. Upstream calls a node that is not there a pod.
fn node_of(ctx: &Context, node: &str) -> Result<kubelet::NodeAddress> {
    kubelet::node_address(&ctx.core, node).map_err(|status| match status.code {
        404 => Status::not_found(&group_resource(&ctx.def), node).into(),
        _ => status,
    })
}

async fn pod(ctx: &Context) -> Result<Value> {
    Ok(
        read::current(&ctx.core, &ctx.def, &ctx.info.namespace, ctx.info.path_name())
            .await?
            .to_value(),
    )
}

fn names(pod: &Value, list: &str) -> Vec<String> {
    pod["spec"][list]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|c| c["name"].as_str())
        .map(str::to_owned)
        .collect()
}

/// The container meant: the one named, or the only one.
fn container(pod: &Value, wanted: &str, name: &str) -> Result<String> {
    let (main, init, ephemeral) = (
        names(pod, "containers"),
        names(pod, "initContainers"),
        names(pod, "ephemeralContainers"),
    );
    if wanted.is_empty() {
        if let [only] = main.as_slice() {
            return Ok(only.clone());
        }
        if let Some(default) = meta::annotation(pod, "kubectl.kubernetes.io/default-container")
            && main.iter().any(|c| c == default)
        {
            return Ok(default.to_owned());
        }
        let all = [init, main, ephemeral].concat().join(" ");
        let message = format!("a container name must be specified for pod {name}, choose one of: [{all}]");
        return Err(Status::bad_request(message).into());
    }
    if main.iter().chain(&init).chain(&ephemeral).any(|c| c == wanted) {
        return Ok(wanted.to_owned());
    }
    Err(Status::bad_request(format!("container {wanted} is not valid for pod {name}")).into())
}

fn encode(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}
