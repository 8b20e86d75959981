//! get and list.

use std::{collections::HashSet, sync::Arc, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use http::{Response, StatusCode};
use rkind_apimachinery::{meta::api_version, resources::ResourceDef, status::Status};
use rkind_store::{Entry, Revision};
use serde_json::{Value, json};

use super::{Context, continuation::Token, convert, render, table};
use crate::{
    cacher::{Cacher, Obj, Snapshot, Written},
    catalog::Def,
    core::{Core, group_resource, object_key, store_key},
    error::{self, Result},
    machinery,
    request::{
        Encoding, Media, Shape,
        options::{ListOptions, Selector, VersionMatch, parse_version},
    },
};

/// How long a read waits for a revision that the server has not reached.
const VERSION_WAIT: Duration = Duration::from_secs(3);

/// Lists from this size in bytes on are sent in pieces while they are made.
const STREAMED: usize = 64 * 1024;
/// About the size of such a piece.
const PIECE: usize = 128 * 1024;

/// One object by name.
///
/// # Errors
/// 404.
pub(crate) async fn get(ctx: &Context) -> Result<Response<Body>> {
    let wanted = ctx.param("resourceVersion").unwrap_or_default();
    let version = parse_version(&wanted).map_err(|e| no_version(&e))?;
    if version > ctx.core.cache.revision() {
        reach(&ctx.core, version).await?;
    }
    let (namespace, name) = (&ctx.info.namespace, ctx.info.path_name());
    let entry = stored(&ctx.core, &ctx.def, namespace, name).await?;
    let key = object_key(&ctx.def, namespace, name);
    let object = Obj::to_send(&key, entry.value, entry.mod_revision).map_err(|e| unreadable(&e))?;
    render::object(
        ctx,
        StatusCode::OK,
        render::Payload::Stored(Arc::new(object)),
        &[],
    )
    .await
}

/// The newest committed state of an object, from the store.
///
/// # Errors
/// 404.
pub(crate) async fn current(core: &Core, def: &ResourceDef, namespace: &str, name: &str) -> Result<Obj> {
    let entry = stored(core, def, namespace, name).await?;
    let key = object_key(def, namespace, name);
    Obj::parse(def.storage_prefix, &key, &entry).map_err(|e| unreadable(&e))
}

async fn stored(core: &Core, def: &ResourceDef, namespace: &str, name: &str) -> Result<Entry> {
    let gr = group_resource(def);
    let (entry, _) = core
        .store
        .get(&store_key(def, namespace, name), None)
        .await
        .map_err(|e| error::store(&gr, &e))?;
    entry.ok_or_else(|| Status::not_found(&gr, name).into())
}

fn unreadable(why: &dyn std::fmt::Display) -> Box<Status> {
    Status::internal_error(&format!("stored object cannot be read: {why}")).into()
}

/// 400 for a version that is no number, where upstream answers 500 to the client's fault.
pub(super) fn no_version(why: &dyn std::fmt::Display) -> Box<Status> {
    Status::bad_request(why.to_string()).into()
}

/// Waits for a revision.
///
/// # Errors
/// 504 when it does not come.
pub(crate) async fn reach(core: &Core, version: Revision) -> Result<Revision> {
    core.cache
        .reach(version, VERSION_WAIT)
        .await
        .map_err(|seen| error::too_large_version(version, seen))
}

/// 410 with a token for the rest of the list as it is now.
fn expired_token(start: &str) -> Box<Status> {
    let mut status = Status::expired(
        "The provided continue parameter is too old to display a consistent list result. You can start a new \
         list without the continue parameter, or use the continue token in this response to retrieve the \
         remainder of the results. Continuing with the provided token results in an inconsistent list - \
         objects that were created, modified, or deleted between the time the first chunk was returned and \
         now may show up in the list.",
    );
    status.metadata.next = Token::new(-1, start.to_owned()).encode();
    status.into()
}

/// One page of a list.
pub(crate) struct Page {
    pub objects: Vec<Arc<Obj>>,
    pub revision: Revision,
    pub next: Option<String>,
    pub remaining: Option<u64>,
}

/// Many objects.
///
/// # Errors
/// 400, 410, 422 or 504.
pub(crate) async fn list(ctx: &Context) -> Result<Response<Body>> {
    let options = ListOptions::parse(ctx.query(), &ctx.def, false)?;
    let page = page(ctx, &options).await?;
    answer(ctx, page).await
}

/// A page in the form that was asked for.
///
/// # Errors
/// 406, or of a conversion.
pub(super) async fn answer(ctx: &Context, page: Page) -> Result<Response<Body>> {
    let bytes: Vec<u8> = match ctx.media {
        Media {
            encoding: Encoding::Json,
            shape: Shape::Object,
            pretty: false,
        } if page.objects.iter().all(|o| convert::is_plain(&ctx.def, o)) => {
            let size: usize = page.objects.iter().map(|o| o.json_len() + 1).sum();
            if size >= STREAMED && !render::accepts_gzip(&ctx.headers) {
                return Ok(render::stream(ctx, json_pieces(ctx, page)));
            }
            json_pieces(ctx, page).collect::<Vec<_>>().concat()
        }
        Media {
            encoding: Encoding::Protobuf,
            shape: Shape::Object,
            ..
        } if let Def::Builtin(def) = &ctx.def => {
            let pieces = protobuf_list(def, &page)?;
            if pieces[1].len() >= STREAMED && !render::accepts_gzip(&ctx.headers) {
                return Ok(render::stream(ctx, pieces.into_iter().map(Bytes::from)));
            }
            pieces.concat()
        }
        media => {
            // One tree at a time, unless a webhook converts them together.
            let items: Box<dyn Iterator<Item = Value> + Send> = if ctx.def.custom().is_none() {
                Box::new(page.objects.iter().map(|o| served(ctx, o)))
            } else {
                let stored = page.objects.iter().map(|o| o.to_value()).collect();
                Box::new(convert::served(&ctx.core, &ctx.def, stored).await?.into_iter())
            };
            let value = shaped(ctx, list_meta(&page), items);
            render::encode(&value, media)?
        }
    };
    Ok(render::respond(
        StatusCode::OK,
        ctx.media.encoding.content_type(),
        bytes.into(),
        &ctx.headers,
    ))
}

/// A built-in object as it is served.
fn served(ctx: &Context, object: &Obj) -> Value {
    convert::to_served(&ctx.def, object.to_value())
}

/// A list of objects in the served version, in the shape that was asked for.
pub(super) fn shaped(ctx: &Context, meta: Value, items: impl Iterator<Item = Value>) -> Value {
    match ctx.media.shape {
        Shape::Object => with_items(
            ctx.def.list_kind,
            &api_version(ctx.def.group, ctx.def.version),
            meta,
            items.map(|mut item| {
                if ctx.def.custom().is_none() {
                    untyped(&mut item);
                }
                item
            }),
        ),
        Shape::Table => table::list(ctx, items, meta),
        Shape::PartialMetadata => with_items(
            "PartialObjectMetadataList",
            "meta.k8s.io/v1",
            meta,
            items.map(|i| table::partial_metadata(&i)),
        ),
    }
}

/// An item of a built-in kind's list: what it is stands at the list, as in Go's typed lists.
fn untyped(item: &mut Value) {
    for field in ["apiVersion", "kind"] {
        item.as_object_mut().and_then(|fields| fields.remove(field));
    }
}

/// A list's tree; `json!` would copy the items.
fn with_items(kind: &str, api_version: &str, meta: Value, items: impl Iterator<Item = Value>) -> Value {
    let mut list = json!({"kind": kind, "apiVersion": api_version, "metadata": meta});
    list["items"] = Value::Array(items.collect());
    list
}

/// Evaluates list options over the cache, or over the store's history where they ask for the past.
///
/// # Errors
/// 400, 410 or 504.
pub(crate) async fn page(ctx: &Context, options: &ListOptions) -> Result<Page> {
    let core = &ctx.core;
    let cacher = core.cacher(&ctx.def)?;
    let prefix = scope(ctx);
    let (snapshot, after) = if options.continue_token.is_empty() {
        (start(ctx, &cacher, options).await?, None)
    } else {
        let bad = |message: String| Box::new(Status::bad_request(message));
        let token = Token::decode(&options.continue_token)
            .map_err(|why| bad(format!("invalid continue token: {why}")))?;
        if !matches!(options.resource_version.as_str(), "" | "0") {
            return Err(bad(
                "specifying resource version is not allowed when using continue".into(),
            ));
        }
        let revision = Revision::try_from(token.rv).unwrap_or_default();
        // A token ends with the history, also where the cache could go on: lists are not held up for ever.
        let snapshot = match revision {
            0 => Ok(cacher.snapshot(core.cache.catch_up().await?)),
            _ if revision < core.store.oldest() => Err(()),
            _ => exact(ctx, &cacher, revision).await.map_err(|_| ()),
        };
        match snapshot {
            Ok(snapshot) => (snapshot, Some(token.start)),
            Err(()) => return Err(expired_token(&token.start)),
        }
    };
    let selector = &options.selector;
    let everything = selector.is_everything();
    // Upstream answers from its cache where any version will do, and there does not page.
    let limit = if options.limit == 0 || options.resource_version == "0" {
        usize::MAX
    } else {
        options.limit
    };
    // A name in the field selector is one look-up, not a scan.
    let name = selector.fields.exact("metadata.name");
    let mut objects = Vec::new();
    let mut more = false;
    let mut seen = 0u64;
    match name {
        Some(name) if !ctx.def.namespaced || !ctx.info.namespace.is_empty() => {
            let key = object_key(&ctx.def, &ctx.info.namespace, name);
            let one: Vec<_> = snapshot.objects.get(&*key).cloned().into_iter().collect();
            let chosen = convert::selected(core, &ctx.def, selector, &one).await?;
            objects.extend(
                one.into_iter()
                    .zip(chosen)
                    .filter_map(|(o, chosen)| chosen.then_some(o)),
            );
        }
        _ => {
            let served = served_choice(ctx, selector, snapshot.range(&prefix, after.as_deref())).await?;
            for object in snapshot.range(&prefix, after.as_deref()) {
                let chosen = everything
                    || match &served {
                        None => selector.matches(&ctx.def, object),
                        Some(keys) => keys.contains(&object.key),
                    };
                if !chosen {
                    continue;
                }
                seen += 1;
                if objects.len() == limit {
                    more = true;
                    if !everything {
                        break;
                    }
                    continue;
                }
                objects.push(object.clone());
            }
        }
    }
    let mut page = Page {
        revision: snapshot.revision,
        objects,
        next: None,
        remaining: None,
    };
    if more {
        let start = page.objects.last().map(|o| o.key.to_string()).unwrap_or_default();
        page.next = Some(Token::new(snapshot.revision as i64, start).encode());
        page.remaining = everything.then(|| seen - limit as u64);
        cacher.keep(&snapshot);
    }
    Ok(page)
}

/// The keys of what a selector chooses, where it reads fields of a version that is not stored; `None`
/// where stored objects can be asked one by one.
async fn served_choice(
    ctx: &Context,
    selector: &Selector,
    objects: impl Iterator<Item = &Arc<Obj>>,
) -> Result<Option<HashSet<Arc<str>>>> {
    if selector.fields.is_everything() || ctx.def.custom().is_none() {
        return Ok(None);
    }
    let objects: Vec<Arc<Obj>> = objects.cloned().collect();
    if !objects
        .iter()
        .any(|object| selector.reads_served(&ctx.def, object))
    {
        return Ok(None);
    }
    let chosen = convert::selected(&ctx.core, &ctx.def, selector, &objects).await?;
    let chosen = objects.iter().zip(chosen).filter(|(_, chosen)| *chosen);
    Ok(Some(chosen.map(|(object, _)| object.key.clone()).collect()))
}

/// Key prefix of what a request may see: a namespace or all.
pub(crate) fn scope(ctx: &Context) -> String {
    if ctx.def.namespaced && !ctx.info.namespace.is_empty() {
        format!("{}/", ctx.info.namespace)
    } else {
        String::new()
    }
}

async fn start(ctx: &Context, cacher: &Arc<Cacher>, options: &ListOptions) -> Result<Snapshot> {
    let core = &ctx.core;
    let version = options
        .version()
        .map_err(|e| Status::bad_request(format!("invalid resource version: {e}")))?;
    match (options.resource_version.as_str(), options.version_match) {
        ("", _) => Ok(cacher.snapshot(core.cache.catch_up().await?)),
        ("0", _) => Ok(cacher.snapshot(core.cache.revision())),
        (_, VersionMatch::Exact) => exact(ctx, cacher, version).await,
        // Upstream: without a match, a version and a limit together mean exactly that version.
        (_, VersionMatch::Unset) if options.limit > 0 => exact(ctx, cacher, version).await,
        _ => Ok(cacher.snapshot(reach(core, version).await?)),
    }
}

async fn exact(ctx: &Context, cacher: &Arc<Cacher>, version: Revision) -> Result<Snapshot> {
    let core = &ctx.core;
    reach(core, version).await?;
    if let Some(snapshot) = cacher.kept(version) {
        return Ok(snapshot);
    }
    let prefix = format!("{}{}/", crate::cacher::ROOT, ctx.def.storage_prefix);
    let range = core
        .store
        .range(&prefix, None, 0, Some(version))
        .await
        .map_err(|e| error::store(&group_resource(&ctx.def), &e))?;
    let objects = range
        .entries
        .iter()
        .filter_map(|entry| {
            let object = Obj::parse(ctx.def.storage_prefix, &entry.key[prefix.len()..], entry).ok()?;
            Some((object.key.clone(), Arc::new(object)))
        })
        .collect();
    Ok(Snapshot {
        revision: version,
        objects,
    })
}

fn list_meta(page: &Page) -> Value {
    let mut meta = json!({"resourceVersion": page.revision.to_string()});
    if let Some(next) = &page.next {
        meta["continue"] = json!(next);
    }
    if let Some(remaining) = page.remaining {
        meta["remainingItemCount"] = json!(remaining);
    }
    meta
}

/// A list of stored bytes, piece by piece: however long it is, little of it is there at once.
fn json_pieces(ctx: &Context, page: Page) -> impl Iterator<Item = Bytes> + Send + use<> {
    let mut out = format!(
        "{{\"kind\":\"{}\",\"apiVersion\":\"{}\",\"metadata\":{},\"items\":[",
        ctx.def.list_kind,
        api_version(ctx.def.group, ctx.def.version),
        list_meta(&page)
    )
    .into_bytes();
    let count = page.objects.len();
    let mut objects = page.objects.into_iter().enumerate();
    let typed = ctx.def.custom().is_none();
    let mut done = false;
    std::iter::from_fn(move || {
        if done {
            return None;
        }
        let mut piece = std::mem::take(&mut out);
        piece.reserve(PIECE);
        for (at, object) in objects.by_ref() {
            if typed {
                object.write_item(&mut piece);
            } else {
                object.write_json(&mut piece);
            }
            if at + 1 < count {
                piece.push(b',');
            }
            if piece.len() >= PIECE - PIECE / 4 {
                return Some(piece.into());
            }
        }
        done = true;
        piece.extend_from_slice(b"]}\n");
        Some(piece.into())
    })
}

fn protobuf_list(def: &'static ResourceDef, page: &Page) -> Result<[Vec<u8>; 3]> {
    let size: usize = page.objects.iter().map(|o| o.json_len()).sum();
    let mut list = machinery::ProtobufList::new(def, &list_meta(page), size)?;
    let plain = !convert::needed(&Def::Builtin(def));
    let mut written = Written::default();
    for object in &page.objects {
        if plain {
            object.write(&mut written);
            list.push_written(&written)?;
        } else {
            list.push(&convert::to_served(&Def::Builtin(def), object.to_value()))?;
        }
    }
    Ok(list.finish())
}
