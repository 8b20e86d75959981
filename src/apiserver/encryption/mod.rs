//! Encryption at rest: a store whose values are ciphertext in the store below.
//! Upstream: `k8s.io/apiserver/pkg/server/options/encryptionconfig` and `storage/value`.
//!
//! Keys of the store stay readable; which values are encrypted is said by resource. A value read in
//! an older form (another key, or plain) is remembered as stale, so that an update which changes
//! nothing still writes it anew: that is how keys are rotated.
//!
//! A value that cannot be opened (its key was taken away, the key service does not answer) fails the
//! reads of its own key; ranges and watches go on and have it without bytes.

mod cipher;
mod config;
mod kms;

#[cfg(test)]
mod tests;

use std::{collections::HashSet, sync::Arc};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use parking_lot::RwLock;
use rkind_store::{Entry, Event, Range, Result, Revision, Store, WatchBatch, WatchStream};

use crate::cacher::ROOT;
use config::{Config, Unopened};

/// Why encryption cannot be set up as asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("encryption configuration: {0}")]
    Config(String),
}

/// A store that encrypts.
pub(crate) struct Encrypted {
    shared: Arc<Encryption>,
}

/// How a store encrypts, at this time.
pub(crate) struct Encryption {
    below: Arc<dyn Store>,
    config: ArcSwap<Config>,
    /// Keys whose value was last read in an older form.
    stale: RwLock<HashSet<Arc<str>>>,
}

impl Encrypted {
    /// Over `below`, by an `EncryptionConfiguration`.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub(crate) async fn new(below: Arc<dyn Store>, config: &str) -> Result<Self, Error> {
        let config = Config::parse(config).map_err(Error::Config)?;
        for kms in config.services() {
            kms.clone().start().await;
        }
        Ok(Encrypted {
            shared: Arc::new(Encryption {
                below,
                config: ArcSwap::from_pointee(config),
                stale: RwLock::default(),
            }),
        })
    }

    /// How it encrypts.
    pub(crate) fn by(&self) -> Arc<Encryption> {
        self.shared.clone()
    }
}

/// `secrets` or `deployments.apps` of a store's key.
fn resource(key: &str) -> Option<String> {
    let mut parts = key.strip_prefix(ROOT)?.split('/');
    let (group, resource) = (parts.next()?, parts.next()?);
    Some(match group {
        "core" => resource.to_owned(),
        group => format!("{resource}.{group}"),
    })
}

impl Encryption {
    /// Takes a new text of the configuration file on.
    ///
    /// # Errors
    /// What is wrong with it, or that one of its key management services is not well; what was there stays.
    pub(crate) async fn reload(&self, config: &str) -> std::result::Result<(), Error> {
        let config = Config::parse(config).map_err(Error::Config)?;
        for kms in config.services() {
            kms.clone().start().await;
            kms.check().await.map_err(Error::Config)?;
        }
        self.config.store(Arc::new(config));
        Ok(())
    }

    /// Whether the key management services are well; `None` without any.
    pub(crate) async fn check(&self) -> Option<std::result::Result<(), String>> {
        let config = self.config.load_full();
        let mut outcome = None;
        for kms in config.services() {
            match kms.check().await {
                Ok(()) => outcome = outcome.or(Some(Ok(()))),
                Err(why) => outcome = Some(Err(why)),
            }
        }
        outcome
    }

    fn seal(&self, key: &str, value: Bytes) -> Result<Bytes> {
        let config = self.config.load();
        let rule = resource(key).and_then(|r| config.rule(&r));
        let Some(rule) = rule else { return Ok(value) };
        match rule.seal(key, &value) {
            Ok(sealed) => Ok(sealed.map_or(value, Bytes::from)),
            Err(reason) => Err(rkind_store::Error::Unreadable {
                key: key.into(),
                reason,
            }),
        }
    }

    async fn open(&self, mut entry: Entry) -> Result<Entry> {
        let refused = |reason| rkind_store::Error::Unreadable {
            key: entry.key.clone(),
            reason,
        };
        let config = self.config.load_full();
        let rule = resource(&entry.key).and_then(|r| config.rule(&r));
        let Some(rule) = rule else {
            // What was once encrypted stays so, even when nothing is to be encrypted any more.
            if entry.value.own().starts_with(cipher::PREFIX) {
                let why = "identity transformer tried to read encrypted data";
                return Err(refused(why.to_owned()));
            }
            return Ok(entry);
        };
        let (value, stale) = loop {
            match rule.open(&entry.key, &entry.value.bytes()) {
                Ok(opened) => break opened,
                Err(Unopened::Refused(reason)) => return Err(refused(reason)),
                Err(Unopened::Locked(locked)) => locked.unlock().await.map_err(refused)?,
            }
        };
        if stale {
            self.stale.write().insert(entry.key.clone());
        } else if self.stale.read().contains(&entry.key) {
            self.stale.write().remove(&entry.key);
        }
        if let Some(value) = value {
            entry.value = value.into();
        }
        Ok(entry)
    }

    /// As [`Encryption::open`], for reads of many: one value that cannot be opened is there without its bytes,
    /// which nobody takes for an object. The others are none the worse for it.
    ///
    /// # Errors
    /// Those that are not the value's.
    async fn open_one_of(&self, entry: Entry) -> Result<Entry> {
        let mut closed = entry.clone();
        match self.open(entry).await {
            Err(error @ rkind_store::Error::Unreadable { .. }) => {
                tracing::error!(%error, "a stored value cannot be opened");
                closed.value = Default::default();
                Ok(closed)
            }
            opened => opened,
        }
    }

    async fn maybe(&self, entry: Option<Entry>) -> Result<Option<Entry>> {
        match entry {
            Some(entry) => self.open(entry).await.map(Some),
            None => Ok(None),
        }
    }

    async fn event(&self, event: Event) -> Result<Event> {
        Ok(match event {
            Event::Put { entry, prev } => Event::Put {
                // The newer state last: it says whether the key is stale.
                prev: match prev {
                    Some(prev) => Some(self.open_one_of(Arc::unwrap_or_clone(prev)).await?.into()),
                    None => None,
                },
                entry: self.open_one_of(Arc::unwrap_or_clone(entry)).await?.into(),
            },
            Event::Delete { prev, revision } => {
                let prev = self.open_one_of(Arc::unwrap_or_clone(prev)).await?;
                self.stale.write().remove(&prev.key);
                Event::Delete {
                    prev: prev.into(),
                    revision,
                }
            }
        })
    }

    async fn batch(&self, revision: Revision, events: Vec<Event>) -> Result<WatchBatch> {
        let mut opened = Vec::with_capacity(events.len());
        for event in events {
            opened.push(self.event(event).await?);
        }
        Ok(WatchBatch {
            revision,
            events: opened,
        })
    }

    async fn error(&self, error: rkind_store::Error) -> rkind_store::Error {
        use rkind_store::Error as E;
        match error {
            E::Exists { current } => match self.open(current).await {
                Ok(current) => E::Exists { current },
                Err(error) => error,
            },
            E::Conflict {
                key,
                expected,
                current: Some(current),
            } => match self.open(current).await {
                Ok(current) => E::Conflict {
                    key,
                    expected,
                    current: Some(current),
                },
                Err(error) => error,
            },
            error => error,
        }
    }
}

#[async_trait]
impl Store for Encrypted {
    fn revision(&self) -> Revision {
        self.shared.below.revision()
    }

    fn oldest(&self) -> Revision {
        self.shared.below.oldest()
    }

    fn health(&self) -> Result<()> {
        self.shared.below.health()
    }

    fn size(&self) -> Option<u64> {
        self.shared.below.size()
    }

    fn is_stale(&self, key: &str) -> bool {
        self.shared.stale.read().contains(key)
    }

    async fn get(&self, key: &str, at: Option<Revision>) -> Result<(Option<Entry>, Revision)> {
        let (entry, revision) = self.shared.below.get(key, at).await?;
        Ok((self.shared.maybe(entry).await?, revision))
    }

    async fn range(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
        at: Option<Revision>,
    ) -> Result<Range> {
        let mut range = self.shared.below.range(prefix, after, limit, at).await?;
        for entry in &mut range.entries {
            *entry = self.shared.open_one_of(entry.clone()).await?;
        }
        Ok(range)
    }

    async fn create(&self, key: &str, value: Bytes) -> Result<Revision> {
        let sealed = self.shared.seal(key, value)?;
        match self.shared.below.create(key, sealed).await {
            Err(error) => Err(self.shared.error(error).await),
            done => done,
        }
    }

    async fn update(&self, key: &str, expected: Revision, value: Bytes) -> Result<Revision> {
        let sealed = self.shared.seal(key, value)?;
        match self.shared.below.update(key, expected, sealed).await {
            Err(error) => Err(self.shared.error(error).await),
            done => done,
        }
    }

    async fn delete(&self, key: &str, expected: Revision) -> Result<Revision> {
        match self.shared.below.delete(key, expected).await {
            Err(error) => Err(self.shared.error(error).await),
            done => done,
        }
    }

    async fn watch(&self, prefix: &str, from: Revision) -> Result<WatchStream> {
        let below = self.shared.below.watch(prefix, from).await?;
        let start = below.revision();
        let shared = self.shared.clone();
        let opened = futures::stream::unfold(below, move |mut below| {
            let shared = shared.clone();
            async move {
                let batch = match below.next().await? {
                    Ok(events) => shared.batch(below.revision(), events).await,
                    Err(error) => Err(error),
                };
                Some((batch, below))
            }
        });
        Ok(WatchStream::new(start, opened))
    }

    async fn progress(&self, prefix: &str) -> Result<()> {
        self.shared.below.progress(prefix).await
    }

    async fn compact(&self, revision: Revision) -> Result<()> {
        self.shared.below.compact(revision).await
    }
}
