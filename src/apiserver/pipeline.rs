//! A request's way, stage by stage. Each stage is a module of its own; this file is their order.
//!
//! request info -> authentication -> audit -> impersonation -> priority and fairness ->
//! authorization -> another server, or (admission ->) registry, or one of the paths that are for no
//! resource.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, OnceLock},
    time::Instant,
};

use axum::body::Body;
use futures::{FutureExt as _, future::BoxFuture};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header, request::Parts};
use rkind_apimachinery::status::Status;

use crate::{
    admission::Notes,
    aggregation,
    audit::{self, Pending, Recording},
    authn::{self, authenticate},
    authz::Attributes,
    core::Core,
    deadline,
    discovery::{self, openapi},
    error::Result,
    flowcontrol::{self, Flow},
    health, impersonation,
    registry::{self, Context, render},
    request::{Media, RequestInfo, info::query_value, media, route},
    user::UserInfo,
};

/// Answers one request.
///
/// The future is boxed: the code of the whole way is made once, in this crate, and not in each that
/// makes a transport of its own kind.
pub(crate) fn handle(core: Arc<Core>, request: Request<Body>) -> BoxFuture<'static, Response<Body>> {
    Box::pin(answer(core, request))
}

async fn answer(core: Arc<Core>, request: Request<Body>) -> Response<Body> {
    let started = Instant::now();
    let (mut parts, body) = request.into_parts();
    let peer = parts.extensions.get::<authn::Connection>().and_then(|c| c.peer);
    let info = Arc::new(RequestInfo::parse(
        &parts.method,
        parts.uri.path(),
        parts.uri.query(),
    ));
    let _inflight = core.metrics.begin(&info);
    let audit_id = audit_id(&parts.headers);
    let told = told(&parts);
    let notes = Arc::<Notes>::default();
    parts.extensions.insert(notes.clone());
    let pending = Pending::new(core.audit.as_ref().map(|auditor| {
        parts.headers.insert("audit-id", audit_id.clone());
        auditor.record(&parts, &info, audit_id.to_str().unwrap_or_default())
    }));
    let recording = pending.recording().cloned();
    let long = is_long(&info);
    let flow = OnceLock::new();
    let answer = if long {
        run(&core, &info, parts, body, recording.clone(), &flow).await
    } else {
        match deadline::of(parts.uri.query(), core.settings.request_timeout) {
            Err(status) => Err(status),
            Ok(limit) => {
                let work = run(&core, &info, parts, body, recording.clone(), &flow);
                match tokio::time::timeout(limit, work).await {
                    Ok(answer) => answer,
                    Err(_) => {
                        let why = "request did not complete within the allotted timeout";
                        Err(Status::timeout(why, 0).into())
                    }
                }
            }
        }
    };
    let mut response = answer.unwrap_or_else(|status| {
        if status.code >= 500 {
            tracing::warn!(verb = %info.verb, path = %info.path, code = status.code, message = %status.message, "request failed");
        }
        if let Some(recording) = &recording {
            recording.refused(&status);
        }
        render::status(&status, told)
    });
    render::warn(&mut response, &notes.warnings());
    response.headers_mut().insert("audit-id", audit_id);
    if let Some(Flow { schema, level }) = flow.into_inner() {
        response
            .headers_mut()
            .insert("x-kubernetes-pf-flowschema-uid", schema);
        response
            .headers_mut()
            .insert("x-kubernetes-pf-prioritylevel-uid", level);
    }
    if let Some(recording) = recording {
        recording.annotated(notes.annotations());
        response = pending.answered(response, long).await;
    }
    let served = core.catalog.now().serves(&info);
    let size = http_body::Body::size_hint(response.body()).exact();
    let code = response.status().as_u16();
    core.metrics.finish(&info, served, code, started.elapsed(), size);
    tracing::debug!(
        ?peer, verb = %info.verb, path = %info.path, code = response.status().as_u16(),
        took_us = started.elapsed().as_micros() as u64, "request"
    );
    response
}

/// The form that a request's client is told errors in.
fn told(parts: &Parts) -> Media {
    Media {
        pretty: media::pretty(&parts.headers, parts.uri.query()),
        ..media::of_errors(&parts.headers)
    }
}

/// The request's id: the client's, or a new one.
fn audit_id(headers: &HeaderMap) -> HeaderValue {
    if let Some(id) = headers.get("audit-id") {
        return id.clone();
    }
    let mut buffer = uuid::Uuid::encode_buffer();
    let id = uuid::Uuid::new_v4().hyphenated().encode_lower(&mut buffer);
    HeaderValue::from_str(id).unwrap_or(HeaderValue::from_static(""))
}

/// The stages; a fault in one request must not end the loop that made it, nor the connection.
async fn run(
    core: &Arc<Core>,
    info: &Arc<RequestInfo>,
    parts: Parts,
    body: Body,
    recording: Option<Arc<Recording>>,
    flow: &OnceLock<Flow>,
) -> Result<Response<Body>> {
    let work = audit::scope(recording.clone(), stages(core, info, parts, body, flow));
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|_| {
        if let Some(recording) = recording {
            recording.panicked();
        }
        Err(Status::internal_error("the request met a fault").into())
    })
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

async fn stages(
    core: &Arc<Core>,
    info: &Arc<RequestInfo>,
    mut parts: Parts,
    mut body: Body,
    flow: &OnceLock<Flow>,
) -> Result<Response<Body>> {
    // Who may do what is read from the cache: it must hold what was written before this request.
    // That it does not is for health checks to tell.
    if !health::is_health(&info.path) {
        core.cache.catch_up().await?;
    }
    core.catalog.refresh(core).await;
    let authenticated = authenticate(core, &parts).await;
    core.metrics.verdicts.authentication(authenticated.is_ok());
    let authenticated = authenticated?;
    let recording = audit::current();
    if let Some(recording) = &recording {
        recording.begin(&authenticated).await;
    }
    let user = match impersonation::impersonate(core, &authenticated, &parts.headers).await? {
        Some(target) => {
            if let Some(recording) = &recording {
                recording.impersonated(&target);
            }
            target
        }
        None => authenticated,
    };
    impersonation::clear(&mut parts.headers);
    // A watch holds its place until it begins; streams last, and have none.
    let _place = if is_long(info) && info.verb != "watch" {
        None
    } else {
        match place(core, info, &user, &parts, flow).await {
            Err(status) if status.code == 429 => return Ok(route::too_many_requests()),
            place => place?,
        }
    };
    let allowed = core.authorizer.admit(&user, &Attributes::of(info)).await;
    core.metrics.verdicts.authorization(allowed.is_ok());
    if let Err(status) = allowed {
        if let Some(recording) = &recording {
            recording.refused(&status);
        }
        let mut response = render::status(&status, told(&parts));
        route::no_sniff(&mut response);
        return Ok(response);
    }
    if let Some(backend) = core.aggregation.backend(&info.path) {
        return Ok(aggregation::proxy::serve(core, &backend, &user, parts, body).await);
    }
    // Other bodies are objects, written down once they are read.
    if let Some(recording) = &recording
        && recording.level() >= audit::Level::Request
        && matches!(info.verb.as_str(), "patch" | "delete" | "deletecollection")
        && !is_long(info)
    {
        let bytes = registry::read_body(body).await?;
        recording.request_body(&bytes, &parts);
        body = Body::from(bytes);
    }
    if info.is_resource {
        resource(core, info, user, parts, body).await
    } else {
        path(core, info, &user, parts).await
    }
}

/// What is held while a request is served: a seat of its priority level, or one of all places when
/// priority and fairness is off.
enum Place {
    #[allow(dead_code, reason = "held for its drop")]
    Seat(Option<flowcontrol::Place>),
    #[allow(dead_code, reason = "held for its drop")]
    Plain(Option<tokio::sync::OwnedSemaphorePermit>),
}

async fn place(
    core: &Core,
    info: &RequestInfo,
    user: &UserInfo,
    parts: &Parts,
    flow: &OnceLock<Flow>,
) -> Result<Option<Place>> {
    let place = match &core.flow {
        Some(control) => Place::Seat(
            control
                .admit(&core.cache, info, parts.uri.query(), user, flow)
                .await?,
        ),
        None if info.verb == "watch" => return Ok(None),
        None => {
            let own = parts.extensions.get::<authn::Identity>().is_some();
            Place::Plain(core.limits.admit(info, user, own)?)
        }
    };
    Ok(Some(place))
}

async fn resource(
    core: &Arc<Core>,
    info: &Arc<RequestInfo>,
    user: UserInfo,
    mut parts: Parts,
    body: Body,
) -> Result<Response<Body>> {
    let Some(def) = core.catalog.find(&info.group, &info.version, &info.resource) else {
        if !info.group.is_empty() && core.catalog.now().versions(&info.group).is_empty() {
            return Ok(route::page_not_found());
        }
        return Err(Status::unknown_resource().into());
    };
    let misplaced = match (def.namespaced, info.namespace.is_empty()) {
        (true, true) if def.custom().is_some() => !matches!(info.verb.as_str(), "list" | "watch"),
        (true, true) => !info.path_name().is_empty(),
        (false, false) => info.resource != "namespaces",
        _ => false,
    };
    if misplaced {
        if def.custom().is_some() {
            return Ok(route::page_not_found());
        }
        return Err(Status::unknown_resource().into());
    }
    let sub = match info.subresource.as_str() {
        "" => None,
        name => Some(def.subresource(name).ok_or_else(Status::unknown_resource)?.name),
    };
    if sub.is_none() && info.parts.len() > 2 {
        return Err(Status::unknown_resource().into());
    }
    let pretty = media::pretty(&parts.headers, parts.uri.query());
    // Streams answer in whatever form the backend speaks.
    let streams = sub.is_some_and(|s| matches!(s, "log" | "exec" | "attach" | "portforward" | "proxy"));
    let protobuf = def.custom().is_none();
    if protobuf {
        registry::check_route(info, &def, sub, &parts)?;
    }
    let media = match media::negotiate(&parts.headers, true, pretty, protobuf) {
        Some(media) => media,
        None if streams => Media::JSON,
        None => return Err(registry::not_acceptable_for(&def)),
    };
    let deprecated = match def.custom() {
        None => crate::machinery::deprecated(&render::served_gvk(&def)),
        Some(own) => own.version().deprecated,
    };
    if deprecated.is_some() {
        core.metrics.deprecated(&def, sub.unwrap_or_default());
    }
    let ctx = Context {
        core: core.clone(),
        info: info.clone(),
        user,
        query: parts.uri.query().map(str::to_owned),
        // Only streams look at the request once more.
        headers: match sub {
            Some(_) => parts.headers.clone(),
            None => std::mem::take(&mut parts.headers),
        },
        def,
        sub,
        media,
        notes: parts.extensions.get::<Arc<Notes>>().cloned().unwrap_or_default(),
    };
    // Who is refused is told, too.
    if let Some(warning) = deprecated {
        ctx.notes.warn(warning);
    }
    registry::serve(ctx, Request::from_parts(parts, body)).await
}

async fn path(core: &Arc<Core>, info: &RequestInfo, user: &UserInfo, parts: Parts) -> Result<Response<Body>> {
    if core.aggregation.is_used()
        && let Some(response) = elsewhere(core, info, user, &parts).await
    {
        return response;
    }
    let headers = &parts.headers;
    if info.path.starts_with("//") {
        return Ok(route::page_not_found());
    }
    if let Some(response) = discovery::serve(core, &parts) {
        return response;
    }
    // What the router knows has a form with a slash at its end; the rest stands as it is.
    let only_get = || match parts.method {
        http::Method::GET => Ok(()),
        _ => Err(Status::method_not_allowed()),
    };
    let public = |mut response: Response<Body>| {
        let hour = HeaderValue::from_static("public, max-age=3600");
        response.headers_mut().insert(header::CACHE_CONTROL, hour);
        response
    };
    let text = |text: String| render::respond(StatusCode::OK, METRICS_TYPE, text.into(), headers);
    let response = match info.path.as_str() {
        "/" | "/index.html" => render::json(&discovery::root_paths(core).await, headers),
        "/version" | "/version/" => {
            only_get()?;
            route::accepts(headers, route::JSON)?;
            render::json(&health::version(), headers)
        }
        // Counts here are never set back, so the answer is the only part of this that there is.
        "/metrics" => text(metrics_text(core)),
        "/metrics/slis" => text(health::slis(core).await),
        "/openapi/v2" => openapi::v2(&core.catalog.now(), headers),
        "/openapi/v3" => openapi::v3_root(&core.catalog.now(), headers),
        "/.well-known/openid-configuration" | "/.well-known/openid-configuration/" => {
            only_get()?;
            public(render::json(
                &authn::openid::configuration(&core.tokens, &core.settings.jwks_uri),
                headers,
            ))
        }
        "/openid/v1/jwks" | "/openid/v1/jwks/" => {
            only_get()?;
            let keys = core.tokens.verifier().jwks();
            let bytes = serde_json::to_vec(&keys).unwrap_or_default();
            public(render::respond(
                StatusCode::OK,
                "application/jwk-set+json",
                bytes.into(),
                headers,
            ))
        }
        path => {
            if let Some(what) = path.strip_prefix("/debug/api_priority_and_fairness/")
                && let Some(flow) = &core.flow
            {
                let details = query_value(parts.uri.query(), "includeRequestDetails");
                let details = details.is_some_and(|v| crate::request::info::truthy(&v));
                let Some(text) = flowcontrol::dump(flow, what, details) else {
                    return Ok(route::page_not_found());
                };
                return Ok(render::respond(
                    StatusCode::OK,
                    "text/plain; charset=utf-8",
                    text.into(),
                    headers,
                ));
            }
            if let Some(document) = path.strip_prefix("/openapi/v3/") {
                return Ok(openapi::v3(
                    &core.catalog.now(),
                    document,
                    parts.uri.query(),
                    headers,
                ));
            }
            // What lies below a prefix of the router's is its to refuse.
            let group = path
                .strip_prefix("/apis/")
                .and_then(|rest| rest.split('/').next());
            let known = group.is_some_and(|group| !core.catalog.now().versions(group).is_empty());
            if known || path.starts_with("/version/") || path.starts_with("/api/") {
                return Err(Status::unknown_resource().into());
            }
            health::serve(core, path, parts.uri.query())
                .await
                .unwrap_or_else(route::page_not_found)
        }
    };
    Ok(response)
}

/// Of the text form of metrics.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";

fn metrics_text(core: &Core) -> String {
    let mut text = core.metrics.render(&health::object_counts(core));
    text.push_str(&crate::metrics::layers::render(core));
    if let Some(flow) = &core.flow {
        text.push_str(&flowcontrol::metrics(flow));
    }
    text
}

/// Documents about APIs of this server and of others; `None` when they are this server's alone.
async fn elsewhere(
    core: &Core,
    info: &RequestInfo,
    user: &UserInfo,
    parts: &Parts,
) -> Option<Result<Response<Body>>> {
    if let Some(response) = aggregation::discovery::serve(core, parts) {
        return Some(response);
    }
    let path = info.path.as_str();
    if let Some(document) = path.strip_prefix("/openapi/v3/") {
        let backend = aggregation::openapi::backend(core, document)?;
        let parts = parts.clone();
        return Some(Ok(aggregation::proxy::serve(
            core,
            &backend,
            user,
            parts,
            Body::empty(),
        )
        .await));
    }
    aggregation::openapi::serve(core, path, &parts.headers)
        .await
        .map(Ok)
}
