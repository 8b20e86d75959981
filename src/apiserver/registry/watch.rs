//! watch: the changes of a resource as a stream of frames.
//!
//! # Flow
//! Where a watch begins (upstream's `resourceVersion` semantics for watch): unset or `0` sends what
//! is there as ADDED and goes on from there; a revision sends what came after it, or one ERROR 410
//! event when that is no longer known; `sendInitialEvents` sends what is there, then a bookmark
//! marked `k8s.io/initial-events-end`.

use std::{collections::VecDeque, pin::Pin, sync::Arc, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use rand::Rng as _;
use rkind_apimachinery::{meta::api_version, status::Status};
use rkind_store::Revision;
use serde_json::{Value, json};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::{Context, convert, read, table};
use crate::{
    cacher::{Cacher, Change, ChangeKind, FrameForm, Obj, Snapshot, Subscription, SubscriptionError},
    catalog::Def,
    core::Core,
    error::Result,
    machinery,
    request::{
        Encoding, Media, Shape,
        options::{ListOptions, Selector},
    },
};

/// How often a quiet watch learns the newest revision.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// Changes taken from the ring at once.
const BATCH: usize = 256;

/// What a watch can be written in; custom resources only in the first.
const STREAMS: [&str; 2] = [
    "application/json;stream=watch",
    "application/vnd.kubernetes.protobuf;stream=watch",
];

/// Starts a watch.
///
/// # Errors
/// 400, 406, 422 or 504; later failures are ERROR events.
pub(crate) async fn watch(ctx: &Context) -> Result<Response<Body>> {
    if ctx.media.encoding == Encoding::Yaml {
        let streams = match ctx.def.custom() {
            None => &STREAMS[..],
            Some(_) => &STREAMS[..1],
        };
        return Err(Status::not_acceptable(streams).into());
    }
    let options = ListOptions::parse(ctx.query(), &ctx.def, true)?;
    let version = options.version().map_err(|e| read::no_version(&e))?;
    let core = &ctx.core;
    let cacher = core.cacher(&ctx.def)?;
    let seconds = options.timeout_seconds.filter(|s| *s > 0).unwrap_or_else(|| {
        let least = u64::from(core.settings.min_request_timeout.max(1));
        rand::rng().random_range(least..2 * least)
    });
    let mut scope = read::scope(ctx);
    let info = &ctx.info;
    let mut single = None;
    // The legacy form `/watch/…/name`.
    if !info.path_name().is_empty() {
        single = Some(crate::core::object_key(
            &ctx.def,
            &info.namespace,
            info.path_name(),
        ));
        scope.clear();
    }
    let mut watcher = Watcher {
        core: core.clone(),
        encoder: Encoder {
            core: core.clone(),
            def: ctx.def.clone(),
            media: ctx.media,
            include: ctx.param("includeObject"),
            columns_sent: false,
        },
        filter: Filter {
            def: ctx.def.clone(),
            after: version,
            scope,
            single,
            selector: options.selector.clone(),
        },
        changes: None,
        initial: None,
        pending: VecDeque::new(),
        deadline: Box::pin(tokio::time::sleep(Duration::from_secs(seconds))),
        bookmarks: options.bookmarks,
        next_bookmark: Box::pin(tokio::time::sleep(BOOKMARK_EVERY)),
        shutdown: Box::pin(core.shutdown.clone().cancelled_owned()),
        retired: ctx
            .def
            .custom()
            .map(|own| Box::pin(own.family.retired.clone().cancelled_owned())),
        done: false,
        count: core.metrics.watcher(&ctx.def),
    };
    watcher.begin(&cacher, &options, version).await?;

    let stream = futures::stream::unfold(watcher, |mut watcher| async move {
        let frame = watcher.next().await?;
        watcher.count.sent();
        Some((Ok::<_, std::convert::Infallible>(frame), watcher))
    });
    let mut response = Response::new(Body::from_stream(stream));
    let content_type = match ctx.media.encoding {
        Encoding::Protobuf => "application/vnd.kubernetes.protobuf;stream=watch",
        Encoding::Yaml | Encoding::Json => "application/json",
    };
    *response.status_mut() = StatusCode::OK;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache, private"),
    );
    Ok(response)
}

/// Which changes a watcher sees, and as what.
struct Filter {
    def: Def,
    /// Only later changes count.
    after: Revision,
    /// `namespace/` or empty.
    scope: String,
    /// The one key watched, by the legacy path.
    single: Option<String>,
    selector: Selector,
}

impl Filter {
    fn in_scope(&self, object: &Obj) -> bool {
        object.key.starts_with(&self.scope) && self.single.as_deref().is_none_or(|k| k == &*object.key)
    }

    /// Which objects it chooses.
    ///
    /// # Errors
    /// 500 when a conversion webhook fails.
    async fn wants(&self, core: &Core, objects: &[Arc<Obj>]) -> Result<Vec<bool>> {
        if self.selector.is_everything() {
            return Ok(vec![true; objects.len()]);
        }
        convert::selected(core, &self.def, &self.selector, objects).await
    }

    /// How a change looks through this filter.
    ///
    /// # Errors
    /// As [`Filter::wants`].
    async fn see(&self, core: &Core, change: &Change) -> Result<Option<ChangeKind>> {
        if change.revision <= self.after || !self.in_scope(&change.object) {
            return Ok(None);
        }
        let (mut before, mut after) = (change.prev.is_some(), change.kind != ChangeKind::Deleted);
        if !self.selector.is_everything() {
            let states: Vec<Arc<Obj>> = change
                .prev
                .iter()
                .chain(after.then_some(&change.object))
                .cloned()
                .collect();
            let mut wants = self.wants(core, &states).await?.into_iter();
            before = before && wants.next() == Some(true);
            after = after && wants.next() == Some(true);
        }
        Ok(match (before, after) {
            (true, _) if change.kind == ChangeKind::Deleted => Some(ChangeKind::Deleted),
            (false, true) => Some(ChangeKind::Added),
            (true, true) => Some(ChangeKind::Modified),
            (true, false) => Some(ChangeKind::Deleted),
            (false, false) => None,
        })
    }
}

/// Events -> frames of one media type.
struct Encoder {
    core: Arc<Core>,
    def: Def,
    media: Media,
    include: Option<String>,
    /// A Table watch carries its columns in the first event only.
    columns_sent: bool,
}

impl Encoder {
    /// # Errors
    /// 500 when a conversion webhook fails.
    async fn change(&mut self, change: &Change, kind: ChangeKind) -> Result<Bytes> {
        let object = change.object_as(kind);
        if !self.is_plain(object) {
            return self.tree(kind.as_str(), object.to_value()).await;
        }
        if self.media.encoding == Encoding::Protobuf {
            return Ok(change.frame(kind, FrameForm::Protobuf, |object| {
                machinery::protobuf_watch_frame_of(&self.def, kind.as_str(), object).into()
            }));
        }
        Ok(change.frame(kind, FrameForm::Json, |object| {
            crate::cacher::json_frame(kind, object)
        }))
    }

    async fn initial(&mut self, object: &Obj) -> Result<Bytes> {
        let kind = ChangeKind::Added;
        if !self.is_plain(object) {
            return self.tree(kind.as_str(), object.to_value()).await;
        }
        Ok(match self.media.encoding {
            Encoding::Protobuf => machinery::protobuf_watch_frame_of(&self.def, kind.as_str(), object).into(),
            _ => crate::cacher::json_frame(kind, object),
        })
    }

    /// Whether stored bytes are the wire form, or have the same content.
    fn is_plain(&self, object: &Obj) -> bool {
        self.media.shape == Shape::Object && convert::is_plain(&self.def, object)
    }

    async fn tree(&mut self, kind: &str, stored: Value) -> Result<Bytes> {
        let mut served = convert::served(&self.core, &self.def, vec![stored]).await?;
        let value = served.pop().unwrap_or_default();
        let shaped = match self.media.shape {
            Shape::Object => value,
            Shape::PartialMetadata => table::partial_metadata(&value),
            Shape::Table => self.table(value),
        };
        Ok(self.frame(kind, &shaped))
    }

    fn table(&mut self, object: Value) -> Value {
        let meta = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
        let include = self.include.as_deref();
        let mut table = table::of(&self.def, std::iter::once(object), meta, include);
        if std::mem::replace(&mut self.columns_sent, true) {
            table["columnDefinitions"] = Value::Null;
        }
        table
    }

    fn bookmark(&mut self, revision: Revision, initial_end: bool) -> Bytes {
        let mut metadata = json!({"resourceVersion": revision.to_string()});
        if initial_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let value = match self.media.shape {
            Shape::Object => json!({
                "kind": self.def.kind,
                "apiVersion": api_version(self.def.group, self.def.version),
                "metadata": metadata,
            }),
            Shape::PartialMetadata => {
                json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
            }
            // A row as that of an empty object.
            Shape::Table => self.table(json!({"metadata": metadata})),
        };
        self.frame("BOOKMARK", &value)
    }

    fn frame(&self, kind: &str, object: &Value) -> Bytes {
        if self.media.encoding == Encoding::Protobuf {
            return machinery::protobuf_watch_frame(kind, object).into();
        }
        // The type comes first, as upstream writes it: readers then need not buffer the object.
        format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n").into()
    }
}

/// What was there when the watch began, sent piece by piece.
struct Initial {
    snapshot: Snapshot,
    /// Key of the last object sent.
    after: Option<Arc<str>>,
    /// Whether a bookmark marks the end.
    bookmark: bool,
}

type Ended = Pin<Box<WaitForCancellationFutureOwned>>;

struct Watcher {
    core: Arc<Core>,
    encoder: Encoder,
    filter: Filter,
    /// `None` when the watch ends after what is pending.
    changes: Option<Subscription>,
    initial: Option<Initial>,
    pending: VecDeque<Bytes>,
    // What ends or interrupts the watch is set up once: an event costs no timer.
    deadline: Pin<Box<Sleep>>,
    bookmarks: bool,
    next_bookmark: Pin<Box<Sleep>>,
    shutdown: Ended,
    /// The definition changed: what is served now is another resource.
    retired: Option<Ended>,
    done: bool,
    #[allow(dead_code, reason = "counts while it lives")]
    count: crate::metrics::Watching,
}

impl Watcher {
    async fn begin(&mut self, cacher: &Arc<Cacher>, options: &ListOptions, version: Revision) -> Result<()> {
        let core = self.core.clone();
        let initial = options.send_initial_events == Some(true);
        if initial || version == 0 {
            let complete = match options.resource_version.as_str() {
                "" => core.cache.catch_up().await?,
                "0" => core.cache.revision(),
                _ => match read::reach(&core, version).await {
                    Ok(revision) => revision,
                    Err(status) => {
                        self.fail(&status);
                        return Ok(());
                    }
                },
            };
            let (snapshot, changes) = cacher.snapshot_and_subscribe(complete);
            self.changes = Some(changes);
            if initial {
                self.initial = Some(Initial {
                    snapshot,
                    after: None,
                    bookmark: self.bookmarks,
                });
            }
            return Ok(());
        }
        // A version that is not there yet is waited for by the filter.
        match cacher.subscribe(version) {
            Ok(changes) => self.changes = Some(changes),
            Err(oldest) => self.expire(&format!("too old resource version: {version} ({oldest})")),
        }
        Ok(())
    }

    /// Queues the next initial objects; `None` after the last.
    async fn send_initial(&mut self, mut initial: Initial) -> Option<Initial> {
        let scope = self.filter.scope.clone();
        let mut last = None;
        let mut scanned = 0;
        let batch: Vec<Arc<Obj>> = initial
            .snapshot
            .range(&scope, initial.after.as_deref())
            .take(BATCH)
            .cloned()
            .collect();
        let wanted = match self.filter.wants(&self.core, &batch).await {
            Ok(wanted) => wanted,
            Err(status) => {
                self.fail(&status);
                return None;
            }
        };
        for (object, wanted) in batch.iter().zip(wanted) {
            scanned += 1;
            last = Some(object.key.clone());
            if wanted && self.filter.in_scope(object) {
                match self.encoder.initial(object).await {
                    Ok(frame) => self.pending.push_back(frame),
                    Err(status) => {
                        self.fail(&status);
                        return None;
                    }
                }
            }
        }
        if scanned == BATCH {
            initial.after = last;
            return Some(initial);
        }
        if initial.bookmark {
            let frame = self.encoder.bookmark(initial.snapshot.revision, true);
            self.pending.push_back(frame);
        }
        None
    }

    fn expire(&mut self, message: &str) {
        self.fail(&Status::expired(message));
    }

    /// Ends the watch with an ERROR event.
    fn fail(&mut self, status: &Status) {
        let frame = self.encoder.frame("ERROR", &status.to_value());
        self.pending.push_back(frame);
        self.changes = None;
    }

    /// The next frame; `None` ends the response.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(frame) = self.pending.pop_front() {
                return Some(frame);
            }
            if self.done {
                return None;
            }
            if let Some(initial) = self.initial.take() {
                self.initial = self.send_initial(initial).await;
                continue;
            }
            // Read before the ring: when the ring is then found empty, all up to here was sent.
            let revision = self.core.cache.revision();
            let Some(changes) = &mut self.changes else {
                self.done = true;
                continue;
            };
            match changes.poll(BATCH) {
                Ok(batch) if batch.is_empty() => {
                    if self.bookmarks && self.next_bookmark.deadline() <= Instant::now() {
                        self.next_bookmark.as_mut().reset(Instant::now() + BOOKMARK_EVERY);
                        let frame = self.encoder.bookmark(revision, false);
                        self.pending.push_back(frame);
                        continue;
                    }
                }
                Ok(batch) => {
                    for change in batch {
                        let frame = match self.filter.see(&self.core, &change).await {
                            Ok(None) => continue,
                            Ok(Some(kind)) => self.encoder.change(&change, kind).await,
                            Err(status) => Err(status),
                        };
                        match frame {
                            Ok(frame) => self.pending.push_back(frame),
                            Err(status) => {
                                self.fail(&status);
                                break;
                            }
                        }
                    }
                    continue;
                }
                Err(SubscriptionError::Lagged) => {
                    self.expire("the watch fell behind, start it anew");
                    continue;
                }
                Err(SubscriptionError::Closed) => {
                    self.done = true;
                    continue;
                }
            }
            let Watcher {
                deadline,
                next_bookmark,
                shutdown,
                retired,
                ..
            } = self;
            let retired = async {
                match retired {
                    Some(retired) => retired.await,
                    None => std::future::pending().await,
                }
            };
            let Some(changes) = &mut self.changes else {
                continue;
            };
            tokio::select! {
                biased;
                waited = changes.wait() => if waited.is_err() { self.done = true },
                // With the revision of then, not of when the wait began.
                () = next_bookmark.as_mut(), if self.bookmarks => {}
                () = deadline.as_mut() => self.done = true,
                () = shutdown.as_mut() => self.done = true,
                () = retired => self.done = true,
            }
        }
    }
}
