//! Kinds that are asked, not stored: access reviews, token reviews, self reviews.

mod access;

use axum::body::Body;
use http::{Response, StatusCode};
use rkind_apimachinery::{meta, resources::ResourceDef, status::Status};
use serde_json::{Value, json};

use super::{
    Context,
    create::{check_namespace, decode},
    managed, read_body,
    render::{self, Payload},
};
use crate::{error::Result, machinery::strings, request::Shape, user::UserInfo};

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
    let write = super::create::Write::of(ctx, options);
    write.admit_creation("", &mut review).await?;
    managed::asked(&write, &ctx.def.api_version(), ctx.def.type_name, &mut review)?;
    let status = match ctx.def.kind {
        "SelfSubjectAccessReview" | "SubjectAccessReview" | "LocalSubjectAccessReview" => {
            access::answer(ctx, &review).await?
        }
        "SelfSubjectRulesReview" => rules(ctx, &review["spec"])?,
        "SelfSubjectReview" => json!({"userInfo": user_info(&ctx.user)}),
        "TokenReview" => token(ctx, &review["spec"]).await?,
        _ => return Err(Status::unknown_resource().into()),
    };
    // The answer about oneself repeats nothing of the question.
    if matches!(ctx.def.kind, "SelfSubjectReview" | "SelfSubjectRulesReview") {
        for part in ["metadata", "spec"] {
            if !review[part].is_null() {
                review[part] = json!({});
            }
        }
    }
    if ctx.def.kind == "SelfSubjectReview" {
        meta::set(&mut review, "creationTimestamp", meta::now());
    }
    review["status"] = status;
    render::object(ctx, StatusCode::CREATED, Payload::Tree(review), &warnings).await
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn rules(ctx: &Context, spec: &Value) -> Result<Value> {
    let namespace = text(&spec["namespace"]);
    if namespace.is_empty() {
        return Err(Status::bad_request("no namespace on request").into());
    }
    let mut all = Vec::new();
    // Upstream asks who may do everything first.
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
    all.extend(ctx.core.authorizer.rbac.rules(&ctx.user, &namespace));
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
        Err(error) => json!({"user": {}, "error": error}),
    })
}
