//! Last stage before the store: one generic registry for every kind.
//!
//! Nothing here knows a kind by name except `subresource`, `components`, `reviews` and the admission plugins: what
//! is special about a kind is data in `apimachinery` (schema, strategy, validation).

mod commit;
pub(crate) mod components;
pub(crate) mod condition;
mod continuation;
pub(crate) mod convert;
pub(crate) mod create;
pub(crate) mod delete;
mod eviction;
pub(crate) mod judge;
pub(crate) mod managed;
pub(crate) mod patch;
pub(crate) mod read;
pub(crate) mod render;
pub(crate) mod reviews;
pub(crate) mod rules;
pub(crate) mod scale;
pub(crate) mod subresource;
pub(crate) mod table;
pub(crate) mod update;
pub(crate) mod watch;

use std::{sync::Arc, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Method, Response, request::Parts};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use rkind_apimachinery::{resources::Subresource, status::Status};

use crate::{
    admission::Notes,
    catalog::Def,
    core::{Core, group_resource},
    error::Result,
    request::{Encoding, Media, RequestInfo, media, options::WriteOptions, route},
    streams::websocket,
    user::UserInfo,
};

/// Largest request body in bytes, upstream's `MaxRequestBodyBytes`.
pub(crate) const MAX_BODY: usize = 3 * 1024 * 1024;

/// How long the rest of a body that is too large is read.
const LINGER: Duration = Duration::from_secs(1);

/// A request for a resource, parsed and allowed.
pub(crate) struct Context {
    pub core: Arc<Core>,
    pub info: Arc<RequestInfo>,
    pub user: UserInfo,
    pub query: Option<String>,
    pub headers: HeaderMap,
    pub def: Def,
    /// Name of the subresource.
    pub sub: Option<&'static str>,
    pub media: Media,
    /// What stages have to say beside the answer.
    pub notes: Arc<Notes>,
}

impl Context {
    /// The raw query.
    pub(crate) fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// One query parameter.
    pub(crate) fn param(&self, key: &str) -> Option<String> {
        crate::request::info::query_value(self.query(), key)
    }

    /// The client's program.
    pub(crate) fn user_agent(&self) -> &str {
        self.headers
            .get(http::header::USER_AGENT)
            .and_then(|v| v.to_str().ok())
            .unwrap_or_default()
    }

    /// Options of a write.
    ///
    /// # Errors
    /// 422.
    pub(crate) fn write_options(&self, kind: &str) -> Result<WriteOptions> {
        WriteOptions::parse(self.query(), self.user_agent(), kind)
    }

    /// Name of the subresource; empty for none.
    pub(crate) fn sub_name(&self) -> &'static str {
        self.sub.unwrap_or_default()
    }

    /// The subresource; `None` for the resource itself.
    pub(crate) fn subresource(&self) -> Option<&Subresource> {
        self.def.subresource(self.sub?)
    }
}

/// Reads a whole body.
///
/// # Errors
/// 413 above [`MAX_BODY`].
pub(crate) async fn read_body(body: Body) -> Result<Bytes> {
    let mut body = body;
    match Limited::new(&mut body, MAX_BODY).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            drop_rest(body).await;
            Err(Status::request_entity_too_large(&format!("limit is {MAX_BODY}")).into())
        }
        Err(error) => Err(Status::bad_request(format!("unable to read the request body: {error}")).into()),
    }
}

/// Reads on for a moment: a client that still writes when the connection closes sees that, and not
/// the answer.
async fn drop_rest(mut body: Body) {
    let read = async {
        let mut left = 4 * MAX_BODY;
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                return;
            }
        }
    };
    // Whoever goes on for longer has been told by the closed connection.
    let _ = tokio::time::timeout(LINGER, read).await;
}

/// Refuses what upstream has no route for: methods first, then media types.
///
/// # Errors
/// 405, 406 or 415.
pub(crate) fn check_route(info: &RequestInfo, def: &Def, sub: Option<&str>, parts: &Parts) -> Result<()> {
    let verb = info.verb.as_str();
    let named = !info.path_name().is_empty();
    let everywhere = def.namespaced && info.namespace.is_empty();
    let routed = match sub {
        Some(sub) => parts.method != Method::HEAD || sub == "proxy",
        None => match verb {
            "get" | "list" | "watch" => parts.method == Method::GET,
            "update" | "patch" => named,
            // What lives in namespaces is made and deleted in one of them only.
            "create" | "deletecollection" => !everywhere,
            _ => true,
        },
    };
    if !routed {
        return Err(Status::method_not_allowed().into());
    }
    let connects = sub.is_some_and(|s| matches!(s, "exec" | "attach" | "portforward" | "proxy"));
    if connects {
        return Ok(());
    }
    if verb == "patch" {
        route::consumes(&parts.headers, &patch::MEDIA_TYPES)?;
    }
    let produced = match (sub, verb) {
        (Some("log"), _) => route::LOG,
        (_, "list" | "watch") => route::LIST,
        _ => route::OBJECT,
    };
    route::accepts(&parts.headers, produced)
}

/// Answers a request for a resource.
///
/// # Errors
/// Any `Status`.
pub(crate) async fn serve(ctx: Context, request: http::Request<Body>) -> Result<Response<Body>> {
    let info = &ctx.info;
    let allowed = match ctx.subresource() {
        Some(sub) => {
            // `create` on a connect subresource comes as any method.
            let verb = if matches!(info.verb.as_str(), "list" | "watch") {
                "get"
            } else {
                info.verb.as_str()
            };
            // OPTIONS has no verb; what is proxied takes every method.
            sub.verbs.contains(&verb) || (verb.is_empty() && ctx.sub == Some("proxy"))
        }
        None => ctx.def.has_verb(&info.verb),
    };
    if !allowed && ctx.def.custom().is_some() && info.verb == "create" && ctx.sub.is_none() {
        let mut status = Status::method_not_supported(&group_resource(&ctx.def), &info.verb);
        status.message = "create not allowed while custom resource definition is terminating".into();
        return Err(status.into());
    }
    if !allowed {
        return Err(Status::method_not_allowed().into());
    }
    if let Some(sub) = ctx.sub {
        return subresource::serve(ctx, sub, request).await;
    }
    match info.verb.as_str() {
        "get" if ctx.def.resource == "componentstatuses" => components::get(&ctx).await,
        "list" if ctx.def.resource == "componentstatuses" => components::list(&ctx).await,
        "get" => read::get(&ctx).await,
        "list" => read::list(&ctx).await,
        "watch" => {
            let response = watch::watch(&ctx).await?;
            if !websocket::is_wanted(&ctx.headers) {
                return Ok(response);
            }
            // The handshake's headers are the context's.
            let mut request = request;
            request.headers_mut().clone_from(&ctx.headers);
            let protobuf = ctx.media.encoding == Encoding::Protobuf;
            let shutdown = ctx.core.shutdown.clone();
            Ok(websocket::watch(
                &mut request,
                response.into_body(),
                protobuf,
                shutdown,
            ))
        }
        "delete" => delete::delete(&ctx, request.into_body()).await,
        "deletecollection" => delete::collection(&ctx, request.into_body()).await,
        "create" if reviews::is_review(&ctx.def) => reviews::create(&ctx, request.into_body()).await,
        "create" if ctx.def.resource == "bindings" => subresource::serve(ctx, "binding", request).await,
        "create" => create::create(&ctx, request.into_body()).await,
        "update" => update::update(&ctx, request.into_body()).await,
        "patch" => patch::patch(&ctx, request.into_body()).await,
        verb => Err(Status::method_not_supported(&group_resource(&ctx.def), verb).into()),
    }
}

/// 406 for an object request.
pub(crate) fn not_acceptable() -> Box<Status> {
    Status::not_acceptable(&media::SUPPORTED).into()
}

/// 406 for a request for objects of a resource.
pub(crate) fn not_acceptable_for(def: &Def) -> Box<Status> {
    match def.custom() {
        None => not_acceptable(),
        Some(_) => Status::not_acceptable(&media::SUPPORTED_CUSTOM).into(),
    }
}

/// 415 for an object of a custom resource.
pub(crate) fn unsupported_custom_media() -> Box<Status> {
    Status::unsupported_media_type(&media::SUPPORTED_CUSTOM).into()
}

/// 415 for an object request.
pub(crate) fn unsupported_media() -> Box<Status> {
    Status::unsupported_media_type(&media::SUPPORTED).into()
}
