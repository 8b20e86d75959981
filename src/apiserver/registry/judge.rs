//! Admission of what is not stored as it is sent: evictions, bindings, token requests, reviews,
//! connections.

use serde_json::{Value, json};

use super::{Context, create::Write};
use crate::{
    admission::Operation,
    error::Result,
    request::info::{query_pairs, truthy},
};

impl Write {
    /// Runs the admission chain for the creation of what is not stored as it is: an eviction, a
    /// binding, a token request, a review.
    ///
    /// # Errors
    /// The first refusal.
    pub(crate) async fn admit_creation(&self, name: &str, object: &mut Value) -> Result<()> {
        let chain = &self.core.admission;
        chain
            .mutate(self.admission(Operation::Create, name, object, None))
            .await?;
        chain
            .validate(self.admission(Operation::Create, name, object, None))
            .await
    }
}

/// Runs the admission chain for a connection (exec, attach, port-forward, proxy).
///
/// # Errors
/// 403.
pub(crate) async fn admit_connect(ctx: &Context) -> Result<()> {
    let write = Write::of(ctx, Default::default());
    let mut object = connect_options(ctx);
    let name = ctx.info.path_name();
    let chain = &ctx.core.admission;
    chain
        .mutate(write.admission(Operation::Connect, name, &mut object, None))
        .await?;
    chain
        .validate(write.admission(Operation::Connect, name, &mut object, None))
        .await
}

/// A connection's query as the object that admission judges (`PodExecOptions` and the like).
fn connect_options(ctx: &Context) -> Value {
    let sub = ctx.sub_name();
    let kind = match (ctx.def.resource, sub) {
        ("pods", "exec") => "PodExecOptions",
        ("pods", "attach") => "PodAttachOptions",
        ("pods", "portforward") => "PodPortForwardOptions",
        ("pods", _) => "PodProxyOptions",
        ("services", _) => "ServiceProxyOptions",
        _ => "NodeProxyOptions",
    };
    let mut options = json!({"apiVersion": "v1", "kind": kind});
    if sub == "proxy" {
        let rest = ctx.info.parts.get(3..).unwrap_or_default().join("/");
        options["path"] = json!(format!("/{rest}"));
        return options;
    }
    for (key, value) in query_pairs(ctx.query()) {
        match key.as_str() {
            "stdin" | "stdout" | "stderr" | "tty" => options[key.as_str()] = json!(truthy(&value)),
            "container" => options["container"] = json!(value),
            "command" | "ports" => {
                let item = match value.parse::<i64>() {
                    Ok(port) if key == "ports" => json!(port),
                    _ => json!(value),
                };
                match options[key.as_str()].as_array_mut() {
                    Some(list) => list.push(item),
                    None => options[key.as_str()] = json!([item]),
                }
            }
            _ => {}
        }
    }
    options
}
