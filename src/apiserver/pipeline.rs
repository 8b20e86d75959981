//! A request's way, stage by stage. Each stage is a module of its own; this file is their order.
//!
//! request info -> authentication -> impersonation -> in-flight limit -> authorization ->
//! (admission ->) registry, or one of the paths that are for no resource.

use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::body::Body;
use futures::FutureExt as _;
use http::{HeaderValue, Request, Response, StatusCode, header, request::Parts};
use rkind_apimachinery::status::Status;

use crate::{
    admission::Notes,
    authn::{self, authenticate},
    authz::Attributes,
    core::Core,
    discovery::{self, openapi},
    error::Result,
    health, impersonation,
    registry::{self, Context, render},
    request::{Encoding, Media, RequestInfo, info::query_value, media},
    user::UserInfo,
};

/// Deadline of a request that is neither a watch nor a stream.
const DEADLINE: Duration = Duration::from_secs(60);

/// Answers one request.
pub(crate) async fn handle(core: Arc<Core>, request: Request<Body>) -> Response<Body> {
    let started = Instant::now();
    let peer = request
        .extensions()
        .get::<authn::Connection>()
        .and_then(|c| c.peer);
    let _inflight = core.metrics.begin();
    let info = RequestInfo::parse(request.method(), request.uri().path(), request.uri().query());
    let audit_id = request
        .headers()
        .get("audit-id")
        .cloned()
        .or_else(|| HeaderValue::from_str(&uuid::Uuid::new_v4().to_string()).ok());
    let encoding = match media::clauses(request.headers()).first() {
        Some(clause) if clause.kind == media::PROTOBUF => Encoding::Protobuf,
        _ => Encoding::Json,
    };
    let notes = Arc::<Notes>::default();
    let mut request = request;
    request.extensions_mut().insert(notes.clone());
    // A fault in one request must not end the loop that made it, nor the connection.
    let work = AssertUnwindSafe(stages(&core, &info, request)).catch_unwind();
    let work = work
        .map(|done| done.unwrap_or_else(|_| Err(Status::internal_error("the request met a fault").into())));
    let mut response = if is_long(&info) {
        work.await
    } else {
        match tokio::time::timeout(DEADLINE, work).await {
            Ok(answer) => answer,
            Err(_) => Err(Status::timeout("request did not complete within the allotted timeout", 0).into()),
        }
    }
    .unwrap_or_else(|status| {
        if status.code >= 500 {
            tracing::warn!(verb = %info.verb, path = %info.path, code = status.code, message = %status.message, "request failed");
        }
        render::status(&status, encoding)
    });
    render::warn(&mut response, &notes.warnings());
    if let Some(id) = audit_id {
        response.headers_mut().insert("audit-id", id);
    }
    core.metrics
        .finish(&info, response.status().as_u16(), started.elapsed());
    tracing::debug!(
        ?peer, verb = %info.verb, path = %info.path, code = response.status().as_u16(),
        took_us = started.elapsed().as_micros() as u64, "request"
    );
    response
}

/// Watches and streams have no deadline of the server's.
fn is_long(info: &RequestInfo) -> bool {
    info.verb == "watch"
        || matches!(
            info.subresource.as_str(),
            "log" | "exec" | "attach" | "portforward" | "proxy"
        )
        || info.verb == "proxy"
}

async fn stages(core: &Arc<Core>, info: &RequestInfo, request: Request<Body>) -> Result<Response<Body>> {
    let (parts, body) = request.into_parts();
    // Who may do what is read from the cache: it must hold what was written before this request.
    core.cache.catch_up().await;
    core.catalog.refresh(core).await;
    let user = authenticate(&parts, &core.tokens)?;
    let user = impersonation::impersonate(core, user, &parts.headers)?;
    let own = parts.extensions.get::<authn::Identity>().is_some();
    // Watches and streams last: only their beginning would count, so they are left out.
    let _place = if is_long(info) {
        None
    } else {
        core.limits.admit(info, &user, own)?
    };
    core.authorizer.check(&user, &Attributes::of(info))?;
    if info.is_resource {
        resource(core, info, user, parts, body).await
    } else {
        path(core, info, &parts).await
    }
}

async fn resource(
    core: &Arc<Core>,
    info: &RequestInfo,
    user: UserInfo,
    parts: Parts,
    body: Body,
) -> Result<Response<Body>> {
    let def = core
        .catalog
        .find(&info.group, &info.version, &info.resource)
        .ok_or_else(Status::unknown_resource)?;
    if def.namespaced && info.namespace.is_empty() && !info.path_name().is_empty() {
        return Err(Status::unknown_resource().into());
    }
    let sub = match info.subresource.as_str() {
        "" => None,
        name => Some(def.subresource(name).ok_or_else(Status::unknown_resource)?.name),
    };
    if sub.is_none() && info.parts.len() > 2 {
        return Err(Status::unknown_resource().into());
    }
    let pretty = match query_value(parts.uri.query(), "pretty") {
        Some(value) => crate::request::info::truthy(&value),
        None => parts
            .headers
            .get(header::USER_AGENT)
            .and_then(|v| v.to_str().ok())
            .is_some_and(|agent| {
                ["curl/", "Wget/", "Mozilla/5.0"]
                    .iter()
                    .any(|p| agent.starts_with(p))
            }),
    };
    // Streams answer in whatever form the backend speaks.
    let streams = sub.is_some_and(|s| matches!(s, "log" | "exec" | "attach" | "portforward" | "proxy"));
    let protobuf = def.custom().is_none();
    let media = match media::negotiate(&parts.headers, true, pretty, protobuf) {
        Some(media) => media,
        None if streams => Media::JSON,
        None => return Err(registry::not_acceptable_for(&def)),
    };
    let deprecated = match def.custom() {
        None => crate::machinery::deprecated(&render::served_gvk(&def)),
        Some(own) => own.version().deprecated,
    };
    let ctx = Context {
        core: core.clone(),
        info: info.clone(),
        user,
        query: parts.uri.query().map(str::to_owned),
        headers: parts.headers.clone(),
        def,
        sub,
        media,
        notes: parts.extensions.get::<Arc<Notes>>().cloned().unwrap_or_default(),
    };
    let mut response = registry::serve(ctx, Request::from_parts(parts, body)).await?;
    if let Some(warning) = deprecated {
        render::warn(&mut response, &[warning.to_owned()]);
    }
    Ok(response)
}

async fn path(core: &Arc<Core>, info: &RequestInfo, parts: &Parts) -> Result<Response<Body>> {
    let headers = &parts.headers;
    if !matches!(parts.method, http::Method::GET | http::Method::HEAD) {
        return Err(Status::method_not_allowed().into());
    }
    let path = info.path.trim_end_matches('/');
    if let Some(response) = discovery::serve(core, path, headers) {
        return Ok(response);
    }
    let response = match path {
        "" => render::json(&discovery::root_paths(&core.catalog.now()), headers),
        "/version" => render::json(&health::version(), headers),
        "/metrics" => {
            let text = core.metrics.render(&health::object_counts(core));
            render::respond(
                StatusCode::OK,
                "text/plain; version=0.0.4; charset=utf-8",
                text.into(),
                headers,
            )
        }
        "/openapi/v2" => {
            let first = media::clauses(headers)
                .into_iter()
                .next()
                .map(|c| c.kind)
                .unwrap_or_default();
            if first.contains("protobuf") {
                if !crate::machinery::OPENAPI_V2_PROTOBUF.contains(&first.as_str()) {
                    return Err(Status::not_acceptable(&["application/json"]).into());
                }
                let kind = crate::machinery::OPENAPI_V2_PROTOBUF_ANSWER;
                return Ok(openapi::v2_protobuf(&core.catalog.now(), kind, headers));
            }
            openapi::v2(&core.catalog.now(), headers)
        }
        "/openapi/v3" => openapi::v3_root(&core.catalog.now(), headers),
        "/.well-known/openid-configuration" => {
            render::json(&authn::openid::configuration(&core.tokens), headers)
        }
        "/openid/v1/jwks" => {
            let keys = core.tokens.verifier().jwks();
            let bytes = serde_json::to_vec(&keys).unwrap_or_default();
            render::respond(StatusCode::OK, "application/jwk-set+json", bytes.into(), headers)
        }
        _ => {
            if let Some(document) = path.strip_prefix("/openapi/v3/") {
                return openapi::v3(&core.catalog.now(), document, parts.uri.query(), headers)
                    .ok_or_else(|| Status::unknown_resource().into());
            }
            return health::serve(core, path, parts.uri.query())
                .ok_or_else(|| Status::unknown_resource().into());
        }
    };
    Ok(response)
}
