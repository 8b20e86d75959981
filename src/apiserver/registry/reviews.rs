//! Kinds that are asked, not stored: access reviews, token reviews, self reviews.

use std::collections::BTreeMap;

use axum::body::Body;
use http::{Response, StatusCode};
use rkind_apimachinery::{
    field::{Error, ErrorList, Path},
    meta,
    resources::ResourceDef,
    status::Status,
};
use serde_json::{Value, json};

use super::{
    Context,
    create::{check_namespace, decode},
    read_body,
    render::{self, Payload},
};
use crate::{
    authz::{Attributes, Decision},
    error::Result,
    request::Shape,
    user::UserInfo,
};

/// Whether creating this resource asks a question.
pub(crate) fn is_review(def: &ResourceDef) -> bool {
    matches!(def.group, "authentication.k8s.io" | "authorization.k8s.io")
}

/// Answers a review.
///
/// # Errors
/// 400 or 422.
pub(crate) async fn create(ctx: &Context, body: Body) -> Result<Response<Body>> {
    // A question has no metadata of its own, so there is no Table of it.
    if ctx.media.shape != Shape::Object {
        return Err(super::not_acceptable());
    }
    let options = ctx.write_options("CreateOptions")?;
    let bytes = read_body(body).await?;
    let (mut review, warnings) = decode(ctx, &bytes, options.field_validation)?;
    if ctx.def.namespaced {
        check_namespace(&ctx.def, &ctx.info.namespace, &mut review)?;
    }
    super::create::Write::of(ctx, options)
        .admit_creation("", &mut review)
        .await?;
    let status = match ctx.def.kind {
        "SelfSubjectAccessReview" => {
            let attributes = attributes(ctx, &review["spec"])?;
            decision(ctx.core.authorizer.decide(&ctx.user, &attributes).await)
        }
        "SubjectAccessReview" | "LocalSubjectAccessReview" => {
            let attributes = attributes(ctx, &review["spec"])?;
            if ctx.def.kind == "LocalSubjectAccessReview" && attributes.namespace != ctx.info.namespace {
                return Err(invalid(
                    ctx,
                    Error::invalid(
                        &Path::new("spec").child("resourceAttributes").child("namespace"),
                        attributes.namespace,
                        "must match metadata.namespace",
                    ),
                ));
            }
            let user = subject(&review["spec"]);
            if user.name.is_empty() && user.groups.is_empty() {
                let path = Path::new("spec").child("user");
                return Err(invalid(
                    ctx,
                    Error::invalid(&path, "", "at least one of user or group must be specified"),
                ));
            }
            decision(ctx.core.authorizer.decide(&user, &attributes).await)
        }
        "SelfSubjectRulesReview" => rules(ctx, &review["spec"])?,
        "SelfSubjectReview" => json!({"userInfo": user_info(&ctx.user)}),
        "TokenReview" => token(ctx, &review["spec"]).await?,
        _ => return Err(Status::unknown_resource().into()),
    };
    if ctx.def.kind == "SelfSubjectReview" {
        meta::set(&mut review, "creationTimestamp", meta::now());
    }
    review["status"] = status;
    render::object(ctx, StatusCode::CREATED, Payload::Tree(review), &warnings).await
}

fn invalid(ctx: &Context, error: Error) -> Box<Status> {
    Status::invalid(ctx.def.group, ctx.def.kind, "", &ErrorList::from(vec![error])).into()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn attributes(ctx: &Context, spec: &Value) -> Result<Attributes> {
    let (resource, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    if resource.is_object() == path.is_object() {
        let at = Path::new("spec").child("resourceAttributes");
        let detail = if resource.is_object() {
            "cannot be specified in combination with nonResourceAttributes"
        } else {
            "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        };
        return Err(invalid(ctx, Error::invalid(&at, Value::Null, detail)));
    }
    if path.is_object() {
        return Ok(Attributes {
            verb: text(&path["verb"]),
            path: text(&path["path"]),
            ..Default::default()
        });
    }
    Ok(Attributes {
        verb: text(&resource["verb"]),
        namespace: text(&resource["namespace"]),
        group: text(&resource["group"]),
        version: text(&resource["version"]),
        resource: text(&resource["resource"]),
        subresource: text(&resource["subresource"]),
        name: text(&resource["name"]),
        path: String::new(),
        is_resource: true,
        field_selector: field_selector(&resource["fieldSelector"]),
    })
}

/// `FieldSelectorAttributes` as a selector's text.
fn field_selector(selector: &Value) -> String {
    if let Some(raw) = selector["rawSelector"].as_str() {
        return raw.to_owned();
    }
    let requirements = selector["requirements"].as_array().into_iter().flatten();
    let terms = requirements.filter_map(|r| {
        let (key, value) = (r["key"].as_str()?, r["values"][0].as_str()?);
        match r["operator"].as_str()? {
            "In" => Some(format!("{key}={value}")),
            "NotIn" => Some(format!("{key}!={value}")),
            _ => None,
        }
    });
    terms.collect::<Vec<_>>().join(",")
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(text).collect()
}

fn subject(spec: &Value) -> UserInfo {
    let extra: BTreeMap<_, _> = spec["extra"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(k, v)| (k.clone(), strings(v)))
        .collect();
    UserInfo {
        name: text(&spec["user"]),
        uid: text(&spec["uid"]),
        groups: strings(&spec["groups"]),
        extra,
    }
}

fn decision(decision: Decision) -> Value {
    let mut status = json!({"allowed": decision.allowed()});
    if !decision.reason().is_empty() {
        let field = if decision.allowed() {
            "reason"
        } else {
            "evaluationError"
        };
        status[field] = json!(decision.reason());
    }
    status
}

fn rules(ctx: &Context, spec: &Value) -> Result<Value> {
    let namespace = text(&spec["namespace"]);
    if namespace.is_empty() {
        return Err(Status::bad_request("no namespace on request").into());
    }
    let mut all = ctx.core.authorizer.rbac.rules(&ctx.user, &namespace);
    if ctx.user.in_group(crate::user::MASTERS) {
        let every = vec!["*".to_owned()];
        all.push(crate::authz::rbac::Rule {
            verbs: every.clone(),
            api_groups: every.clone(),
            resources: every.clone(),
            ..Default::default()
        });
        all.push(crate::authz::rbac::Rule {
            verbs: every.clone(),
            non_resource_urls: every,
            ..Default::default()
        });
    }
    let (paths, resources): (Vec<_>, Vec<_>) = all.into_iter().partition(|r| !r.non_resource_urls.is_empty());
    Ok(json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": false}))
}

/// A user as `authentication.k8s.io/v1 UserInfo`.
pub(crate) fn user_info(user: &UserInfo) -> Value {
    let mut info = json!({"username": user.name});
    if !user.uid.is_empty() {
        info["uid"] = json!(user.uid);
    }
    if !user.groups.is_empty() {
        info["groups"] = json!(user.groups);
    }
    if !user.extra.is_empty() {
        info["extra"] = json!(user.extra);
    }
    info
}

async fn token(ctx: &Context, spec: &Value) -> Result<Value> {
    let token = text(&spec["token"]);
    if token.is_empty() {
        return Err(Status::bad_request("token is required for TokenReview in authentication").into());
    }
    let audiences = strings(&spec["audiences"]);
    Ok(match crate::authn::token(&ctx.core, &token, &audiences).await {
        Ok(verified) => json!({
            "authenticated": true,
            "user": user_info(&verified.user.authenticated()),
            "audiences": verified.audiences,
        }),
        Err(error) => json!({"authenticated": false, "user": {}, "error": error}),
    })
}
