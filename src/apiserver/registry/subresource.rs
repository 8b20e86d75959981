//! What stands behind an object's name in a URL.

use axum::body::Body;
use http::{Response, StatusCode};
use rkind_apimachinery::{
    field::{Error, ErrorList, Path},
    meta::{self, Gvk, api_version},
    status::Status,
};
use serde_json::{Value, json};

use super::{
    Context, condition, convert,
    create::Write,
    eviction, managed, patch, read, read_body,
    render::{self, Payload},
    scale, unsupported_media, update,
};
use crate::{
    authn::token::{Bound, Wanted},
    core::group_resource,
    error::Result,
    machinery,
    request::{media::body_encoding, options::APPLY_OPTIONS},
    streams,
};

/// Answers a request for a subresource.
///
/// # Errors
/// Any `Status`.
pub(crate) async fn serve(
    ctx: Context,
    sub: &'static str,
    request: http::Request<Body>,
) -> Result<Response<Body>> {
    match (ctx.def.resource, sub) {
        (_, "scale") => serve_scale(&ctx, request.into_body()).await,
        ("pods" | "bindings", "binding") => binding(&ctx, request.into_body()).await,
        ("pods", "eviction") => eviction::create(&ctx, request.into_body()).await,
        ("serviceaccounts", "token") => token(&ctx, request.into_body()).await,
        ("pods", "log") => streams::logs(&ctx, request).await,
        ("pods", "exec" | "attach" | "portforward") => streams::connect(&ctx, sub, request).await,
        ("pods" | "services" | "nodes", "proxy") => streams::proxy::serve(&ctx, request).await,
        _ => match ctx.info.verb.as_str() {
            "get" => read::get(&ctx).await,
            "update" => update::update(&ctx, request.into_body()).await,
            "patch" => patch::patch(&ctx, request.into_body()).await,
            verb => Err(Status::method_not_supported(&group_resource(&ctx.def), verb).into()),
        },
    }
}

/// Reads a subresource's body as its own kind, defaults applied. Also gives warnings.
pub(super) async fn body(ctx: &Context, body: Body) -> Result<(Value, Vec<String>)> {
    let bytes = read_body(body).await?;
    let encoding = body_encoding(&ctx.headers).ok_or_else(unsupported_media)?;
    let options = ctx.write_options("CreateOptions")?;
    let (expected, type_name) = match ctx.subresource() {
        Some(sub) => (Gvk::new(sub.group, sub.version, sub.kind), sub.type_name),
        None => (
            Gvk::new(ctx.def.group, ctx.def.version, ctx.def.kind),
            ctx.def.type_name,
        ),
    };
    let mut bytes = bytes;
    // Evictions are also understood in their former version.
    if expected.kind == "Eviction" && bytes.windows(14).any(|w| w == b"policy/v1beta1") {
        bytes = String::from_utf8_lossy(&bytes)
            .replace("policy/v1beta1", "policy/v1")
            .into_bytes()
            .into();
    }
    let (mut object, warnings) =
        machinery::decode(&bytes, encoding, &expected, type_name, options.field_validation)?;
    machinery::default(&expected, &mut object);
    crate::audit::about(&object, || {
        let mut shown = object.clone();
        machinery::normalize(&expected, &mut shown);
        shown
    });
    Ok((object, warnings))
}

async fn serve_scale(ctx: &Context, request: Body) -> Result<Response<Body>> {
    let name = ctx.info.path_name();
    let reply = async |payload: Payload| -> Result<Value> {
        match payload {
            Payload::Stored(object) => scale::of(&ctx.def, &served(ctx, &object).await?),
            Payload::Tree(tree) => scale::of(&ctx.def, &tree),
        }
    };
    if ctx.info.verb == "get" {
        let object = read::current(&ctx.core, &ctx.def, &ctx.info.namespace, name).await?;
        let object = served(ctx, &object).await?;
        return render::object(
            ctx,
            StatusCode::OK,
            Payload::Tree(scale::of(&ctx.def, &object)?),
            &[],
        )
        .await;
    }
    let mut write = Write::of(ctx, ctx.write_options("UpdateOptions")?);
    // A scale has owners of its own.
    write.untracked = true;
    let writer = write.clone();
    let changed = |old: &Value, wanted: &Value| -> Result<Value> {
        check(wanted, name)?;
        let mut new = old.clone();
        scale::set(&ctx.def, &mut new, wanted);
        scale::updated(&writer, old, &mut new)?;
        Ok(new)
    };
    let updated = if ctx.info.verb == "update" {
        let (wanted, _) = body(ctx, request).await?;
        write.retry = meta::resource_version(&wanted).is_empty();
        write.change(name, |old| changed(old, &wanted)).await?
    } else {
        let kind = patch::media_type(ctx)?;
        let bytes = read_body(request).await?;
        write.retry = true;
        if kind == patch::APPLY {
            apply_scale(ctx, write, name, &bytes).await?
        } else {
            write
                .change(name, |old| {
                    let live = scale::of(&ctx.def, old)?;
                    changed(old, &patch::patched(kind, &live, &bytes, scale::TYPE)?)
                })
                .await?
        }
    };
    let scale = Payload::Tree(reply(updated.payload).await?);
    render::object(ctx, StatusCode::OK, scale, &[]).await
}

/// Server-side apply of a scale: who applies it owns the replicas of the object behind it.
async fn apply_scale(ctx: &Context, mut write: Write, name: &str, bytes: &[u8]) -> Result<update::Updated> {
    write.options = ctx.write_options(APPLY_OPTIONS)?;
    let config = machinery::decode_loose(bytes, crate::request::Encoding::Yaml, "")?;
    check(&config, name)?;
    let def = write.def.clone();
    let applier = write.clone();
    write
        .change(name, move |old| {
            let served = convert::to_served(&def, old.clone());
            let object = scale::applied(&applier, &served, &config, |scale| check(scale, name))?;
            Ok(convert::to_stored(&def, object))
        })
        .await
}

/// A stored object in the form that writes work on.
async fn served(ctx: &Context, object: &crate::cacher::Obj) -> Result<Value> {
    Write::of(ctx, Default::default()).open(object.to_value()).await
}

fn check(wanted: &Value, name: &str) -> Result<()> {
    let own = meta::name(wanted);
    if !own.is_empty() && own != name {
        return Err(Status::bad_request(format!(
            "the name of the object ({own}) does not match the name on the URL ({name})"
        ))
        .into());
    }
    let replicas = wanted["spec"]["replicas"].as_i64().unwrap_or(0);
    if replicas < 0 {
        let mut errors = ErrorList::new();
        let path = Path::new("spec").child("replicas");
        errors.push(Error::invalid(
            &path,
            replicas,
            "must be greater than or equal to 0",
        ));
        return Err(Status::invalid("autoscaling", "Scale", name, &errors).into());
    }
    Ok(())
}

/// Binds a pod to a node: the scheduler's only write. Upstream: `registry/core/pod/storage`, `BindingREST`.
async fn binding(ctx: &Context, request: Body) -> Result<Response<Body>> {
    let (mut binding, _) = body(ctx, request).await?;
    let name = if ctx.def.resource == "bindings" {
        meta::name(&binding).to_owned()
    } else {
        ctx.info.path_name().to_owned()
    };
    let own = meta::name(&binding);
    if !own.is_empty() && own != name {
        return Err(Status::bad_request(format!(
            "name in URL does not match name in Binding object: {name} != {own}"
        ))
        .into());
    }
    let node = binding["target"]["name"].as_str().unwrap_or_default().to_owned();
    if node.is_empty() || !matches!(binding["target"]["kind"].as_str(), None | Some("" | "Node")) {
        let mut errors = ErrorList::new();
        let path = Path::new("target");
        if node.is_empty() {
            errors.push(Error::required(&path.child("name"), ""));
        } else {
            let kind = binding["target"]["kind"].clone();
            errors.push(Error::not_supported(
                &path.child("kind"),
                kind,
                &["Node", "<empty>"],
            ));
        }
        return Err(Status::invalid("", "Binding", &name, &errors).into());
    }
    let pods = rkind_apimachinery::resources::find("", "v1", "pods").ok_or_else(Status::unknown_resource)?;
    let mut write = Write::of(ctx, ctx.write_options("CreateOptions")?);
    write.admit_creation(&name, &mut binding).await?;
    let node = binding["target"]["name"].as_str().unwrap_or_default().to_owned();
    write.admitted = true;
    write.def = pods.into();
    write.sub = "binding";
    write.untracked = true;
    write.namespace = ctx.info.namespace.clone();
    write.retry = true;
    let gr = group_resource(pods);
    let wanted_uid = meta::uid(&binding).to_owned();
    let of = |field: &str| {
        binding["metadata"][field]
            .as_object()
            .cloned()
            .unwrap_or_default()
    };
    let (annotations, labels) = (of("annotations"), of("labels"));
    write
        .change(&name, |old| {
            let conflict = |why: &str| -> Box<Status> {
                Status::conflict(
                    &rkind_apimachinery::meta::GroupResource::new("", "pods/binding"),
                    &name,
                    why,
                )
                .into()
            };
            if !wanted_uid.is_empty() && wanted_uid != meta::uid(old) {
                let why = format!(
                    "Precondition failed: UID in precondition: {wanted_uid}, UID in object meta: {}",
                    meta::uid(old)
                );
                return Err(Status::conflict(&gr, &name, &why).into());
            }
            if meta::is_deleting(old) {
                return Err(conflict(&format!(
                    "pod {name} is being deleted, cannot be assigned to a host"
                )));
            }
            if let Some(host) = old["spec"]["nodeName"].as_str().filter(|h| !h.is_empty()) {
                return Err(conflict(&format!(
                    "pod {name} is already assigned to node {host:?}"
                )));
            }
            let mut new = old.clone();
            new["spec"]["nodeName"] = json!(node);
            for (key, value) in &annotations {
                meta::metadata_mut(&mut new)
                    .entry("annotations")
                    .or_insert_with(|| json!({}))[key] = value.clone();
            }
            // Admission puts the node's place there.
            for (key, value) in &labels {
                let own = meta::metadata_mut(&mut new)
                    .entry("labels")
                    .or_insert_with(|| json!({}));
                if own[key].is_null() {
                    own[key] = value.clone();
                }
            }
            // It is placed: the wish is done with.
            meta::child_object(&mut new, "status").remove("nominatedNodeName");
            let scheduled = json!({"type": "PodScheduled", "status": "True"});
            condition::set(&mut new["status"], scheduled, &meta::now());
            Ok(new)
        })
        .await?;
    created(ctx)
}

/// The answer to what was done and has no object to show.
pub(super) fn created(ctx: &Context) -> Result<Response<Body>> {
    let status = Status {
        code: 201,
        ..Status::success(None)
    };
    let bytes = render::encode(&status.to_value(), ctx.media)?;
    Ok(render::respond(
        StatusCode::CREATED,
        ctx.media.encoding.content_type(),
        bytes.into(),
        &ctx.headers,
    ))
}

/// Issues a service-account token. Upstream: KEP-1205, `registry/core/serviceaccount/storage/token.go`.
async fn token(ctx: &Context, request: Body) -> Result<Response<Body>> {
    let (mut review, _) = body(ctx, request).await?;
    let (namespace, name) = (ctx.info.namespace.as_str(), ctx.info.path_name());
    let account = read::current(&ctx.core, &ctx.def, namespace, name)
        .await?
        .to_value();
    let own = meta::name(&review);
    if !own.is_empty() && own != name {
        return Err(
            Status::bad_request("the service account name does not match the name on the URL").into(),
        );
    }
    let write = Write::of(ctx, ctx.write_options("CreateOptions")?);
    write.admit_creation(name, &mut review).await?;
    let seconds = review["spec"]["expirationSeconds"].as_i64().unwrap_or(3600);
    review["spec"]["expirationSeconds"] = json!(seconds);
    if let Some(sub) = ctx.subresource() {
        managed::asked(
            &write,
            &api_version(sub.group, sub.version),
            sub.type_name,
            &mut review,
        )?;
    }
    let spec = review["spec"].clone();
    let mut audiences = machinery::strings(&spec["audiences"]);
    if audiences.is_empty() {
        audiences = ctx.core.tokens.audiences().to_vec();
    }
    let mut errors = ErrorList::new();
    let path = Path::new("spec").child("expirationSeconds");
    if seconds < 600 {
        errors.push(Error::invalid(
            &path,
            seconds,
            "may not specify a duration less than 10 minutes",
        ));
    } else if seconds > 1 << 32 {
        errors.push(Error::invalid(
            &path,
            seconds,
            "may not specify a duration larger than 2^32 seconds",
        ));
    }
    if !errors.is_empty() {
        return Err(Status::invalid("authentication.k8s.io", "TokenRequest", "", &errors).into());
    }
    let mut warnings = Vec::new();
    let granted = ctx.core.tokens.granted(seconds);
    if granted < seconds {
        warnings.push(format!(
            "requested expiration of {seconds} seconds shortened to {granted} seconds"
        ));
    }
    let seconds = granted;
    let (bound, node) = bound(ctx, namespace, name, &spec["boundObjectRef"]).await?;
    let node = node.as_ref().map(|(n, u)| (n.as_str(), u.as_str()));
    let issued = ctx
        .core
        .tokens
        .issue(&Wanted {
            namespace,
            name,
            uid: meta::uid(&account),
            audiences: &audiences,
            seconds,
            bound: bound.as_ref(),
            node,
        })
        .map_err(|e| Status::internal_error(&e.to_string()))?;
    crate::audit::annotate("authentication.kubernetes.io/issued-credential-id", &issued.id);
    let review_meta = meta::metadata_mut(&mut review);
    review_meta.insert("name".into(), json!(name));
    review_meta.insert("namespace".into(), json!(namespace));
    review_meta.insert("uid".into(), json!(meta::uid(&account)));
    review_meta.insert("creationTimestamp".into(), json!(meta::now()));
    review["spec"]["audiences"] = json!(audiences);
    review["spec"]["expirationSeconds"] = json!(seconds);
    review["status"] = json!({"token": issued.token, "expirationTimestamp": meta::time(issued.expires)});
    render::object(ctx, StatusCode::CREATED, Payload::Tree(review), &warnings).await
}

type Node = (String, String);

/// Checks the object that a token is to be bound to. Also gives the node of a pod.
async fn bound(
    ctx: &Context,
    namespace: &str,
    account: &str,
    reference: &Value,
) -> Result<(Option<Bound>, Option<Node>)> {
    let (Some(kind), Some(name)) = (reference["kind"].as_str(), reference["name"].as_str()) else {
        return Ok((None, None));
    };
    let (resource, scope) = match kind {
        "Pod" => ("pods", namespace),
        "Secret" => ("secrets", namespace),
        "Node" => ("nodes", ""),
        _ => {
            let Gvk { group, version, kind } = Gvk::of(reference);
            let what = format!("{group}/{version}, Kind={kind}");
            return Err(Status::bad_request(format!("cannot bind token to object of type {what}")).into());
        }
    };
    let def = rkind_apimachinery::resources::find("", "v1", resource).ok_or_else(Status::unknown_resource)?;
    let object = read::current(&ctx.core, def, scope, name).await?.to_value();
    let uid = meta::uid(&object).to_owned();
    if let Some(wanted) = reference["uid"].as_str().filter(|u| !u.is_empty())
        && wanted != uid
    {
        let why = format!(
            "the UID in the bound object reference ({wanted}) does not match the UID in record. The object might have been deleted and then recreated"
        );
        return Err(Status::conflict(&group_resource(def), name, &why).into());
    }
    let mut node = None;
    if kind == "Pod" {
        let used = object["spec"]["serviceAccountName"].as_str().unwrap_or_default();
        if used != account {
            return Err(Status::bad_request(format!(
                "cannot bind token for serviceaccount {account:?} to pod running with different serviceaccount name."
            ))
            .into());
        }
        if let Some(host) = object["spec"]["nodeName"].as_str().filter(|h| !h.is_empty()) {
            let uid = ctx
                .core
                .cached("core/nodes", host)
                .map(|n| meta::uid(&n.to_value()).to_owned());
            node = Some((host.to_owned(), uid.unwrap_or_default()));
        }
    }
    Ok((
        Some(Bound {
            kind: kind.into(),
            name: name.into(),
            uid,
        }),
        node,
    ))
}
