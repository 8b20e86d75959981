//! `componentstatuses`: nothing stored, what is asked for is looked at. Deprecated since v1.19, still
//! served. Upstream: `pkg/registry/core/componentstatus`.

use std::{sync::Arc, time::Duration};

use axum::body::Body;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use parking_lot::Mutex;
use rkind_apimachinery::{meta::GroupResource, status::Status};
use rustls_pki_types::ServerName;
use serde_json::{Value, json};

use super::{
    Context, read,
    render::{self, Payload},
};
use crate::{
    core::Core,
    error::Result,
    outbound::{Connector, Trust, explain},
    request::options::ListOptions,
};

/// How long a component may take to answer.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Components, and where one in another process of this machine says whether it is well.
const COMPONENTS: [(&str, Option<u16>); 3] = [
    ("scheduler", Some(10259)),
    ("controller-manager", Some(10257)),
    ("etcd-0", None),
];

/// Components that run in this process.
#[derive(Clone, Default)]
pub(crate) struct Local(Arc<Mutex<Vec<&'static str>>>);

/// Says that a component runs in this process until it is dropped.
#[must_use]
pub struct Running {
    local: Local,
    name: &'static str,
}

impl Local {
    pub(crate) fn add(&self, name: &'static str) -> Running {
        self.0.lock().push(name);
        Running {
            local: self.clone(),
            name,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut names = self.local.0.lock();
        if let Some(at) = names.iter().position(|name| *name == self.name) {
            names.swap_remove(at);
        }
    }
}

/// What a look at a component found: the condition's status, message and error.
type Seen = (&'static str, String, String);

/// One component.
///
/// # Errors
/// 404 for one that is not known.
pub(super) async fn get(ctx: &Context) -> Result<Response<Body>> {
    let name = ctx.info.path_name();
    let Some(known) = COMPONENTS.iter().find(|(known, _)| *known == name) else {
        return Err(Status::not_found(&GroupResource::new("", "componentstatus"), name).into());
    };
    let object = look(&ctx.core, *known).await;
    render::object(ctx, StatusCode::OK, Payload::Tree(object), &[]).await
}

/// All components that the selectors choose.
///
/// # Errors
/// 400 for selectors that are none.
pub(super) async fn list(ctx: &Context) -> Result<Response<Body>> {
    let options = ListOptions::parse(ctx.query(), &ctx.def, false)?;
    let looks = COMPONENTS.map(|known| look(&ctx.core, known));
    let all = futures::future::join_all(looks).await;
    let items = all.into_iter().filter(|object| {
        let fields = &options.selector.fields;
        options.selector.labels.matches(None) && fields.matches(ctx.def.group, ctx.def.kind, object)
    });
    let value = read::shaped(ctx, json!({}), items);
    let bytes = render::encode(&value, ctx.media)?;
    Ok(render::respond(
        StatusCode::OK,
        ctx.media.encoding.content_type(),
        bytes.into(),
        &ctx.headers,
    ))
}

async fn look(core: &Core, (name, port): (&'static str, Option<u16>)) -> Value {
    let (status, message, error) = match port {
        None => match core.store.health() {
            Ok(()) => ("True", "ok".to_owned(), String::new()),
            Err(error) => ("False", String::new(), error.to_string()),
        },
        Some(_) if core.components.0.lock().contains(&name) => ("True", "ok".to_owned(), String::new()),
        Some(port) => probe(port).await,
    };
    let mut condition = json!({"type": "Healthy", "status": status});
    for (field, text) in [("message", message), ("error", error)] {
        if !text.is_empty() {
            condition[field] = json!(text);
        }
    }
    json!({"apiVersion": "v1", "kind": "ComponentStatus", "metadata": {"name": name}, "conditions": [condition]})
}

/// Asks a component at this machine. Nobody vouches for its certificate.
async fn probe(port: u16) -> Seen {
    let url = format!("https://127.0.0.1:{port}/healthz");
    let trust = Trust {
        insecure: true,
        ..Trust::default()
    };
    let name = ServerName::try_from("127.0.0.1");
    let (Ok(config), Ok(name), Ok(request)) = (trust.config(), name, Request::get(&url).body(Body::empty()))
    else {
        return (
            "Unknown",
            String::new(),
            "failed to construct probe request".into(),
        );
    };
    let connector = Connector {
        locate: Arc::new(move || Ok(("127.0.0.1".to_owned(), port))),
        tls: Some((config, name)),
    };
    let asked = async {
        let response = connector.client().request(request).await?;
        let code = response.status();
        let body = response.into_body().collect().await.map(|b| b.to_bytes());
        Ok::<_, hyper_util::client::legacy::Error>((code, body.unwrap_or_default()))
    };
    let failed = |why: &str| ("False", format!("Get {url:?}: {why}"), String::new());
    match tokio::time::timeout(TIMEOUT, asked).await {
        Ok(Ok((code, body))) if code.is_success() || code.is_redirection() => {
            ("True", String::from_utf8_lossy(&body).into_owned(), String::new())
        }
        Ok(Ok((code, _))) => {
            let why = format!("HTTP probe failed with statuscode: {}", code.as_u16());
            ("False", why, String::new())
        }
        Ok(Err(error)) => failed(&explain(&error)),
        Err(_) => failed("context deadline exceeded (Client.Timeout exceeded while awaiting headers)"),
    }
}
