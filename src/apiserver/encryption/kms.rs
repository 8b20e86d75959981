//! Keys that somebody else keeps: KMS v2 (KEP-3299). A seed of this server encrypts; the plugin behind
//! a Unix socket encrypts the seed, which is stored beside every value.
//! Upstream: `k8s.io/apiserver/pkg/storage/value/encrypt/envelope/kmsv2`.

mod messages;

#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, OnceLock, Weak},
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use prost::Message as _;
use rand::RngCore as _;
use ring::hkdf;
use rkind_apimachinery::meta;
use tokio::net::UnixStream;
use tonic::{
    Request,
    transport::{Channel, Endpoint, Uri},
};
use tonic_prost::ProstCodec;

use self::messages::{
    DecryptRequest, DecryptResponse, EncryptRequest, EncryptResponse, EncryptedObject, HKDF_SEED,
    StatusRequest, StatusResponse,
};
use super::cipher::{self, Algorithm};

/// Bytes of a seed, and of what a key is derived with.
const SEED: usize = 32;
/// How long a seed may encrypt without word from the plugin.
const SEED_LIFE: Duration = Duration::from_secs(3 * 60);
/// How often the plugin is asked how it is: when it was well, and when not.
const POLL: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(10));
/// How long its answer holds: that it is well, and that it is not.
const KEPT: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(3));
/// Bytes that a key's name and an encrypted seed may have.
const MAX_NAME: usize = 1024;
/// Seeds of other servers and earlier keys that are remembered.
const KNOWN: usize = 1024;

type Seed = [u8; SEED];

/// What values are encrypted with now.
struct Current {
    seed: Seed,
    /// The stored form of it, without a value.
    envelope: EncryptedObject,
    until: Instant,
}

/// One plugin.
pub(super) struct Kms {
    /// `k8s:enc:kms:v2:NAME:`
    pub prefix: Vec<u8>,
    name: String,
    channel: Channel,
    timeout: Duration,
    current: ArcSwapOption<Current>,
    /// The plugin's last word about itself.
    health: tokio::sync::Mutex<Option<(Instant, Result<(), String>)>>,
    /// Version of the API that it spoke first.
    version: OnceLock<String>,
    /// Decrypted seeds by their encrypted form.
    known: Mutex<HashMap<Vec<u8>, Seed>>,
}

impl std::fmt::Debug for Kms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kms")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A stored value whose seed only the plugin can tell.
#[derive(Debug)]
pub(super) struct Locked {
    kms: Arc<Kms>,
    envelope: EncryptedObject,
}

impl Locked {
    /// Asks the plugin for the seed; the value can be opened then.
    ///
    /// # Errors
    /// Why it is not told.
    pub(super) async fn unlock(self) -> Result<(), String> {
        let (kms, envelope) = (self.kms, self.envelope);
        let request = DecryptRequest {
            ciphertext: envelope.encrypted_dek_source.clone(),
            uid: meta::new_uid(),
            key_id: envelope.key_id,
            annotations: envelope.annotations,
        };
        let answer: DecryptResponse = kms
            .call("Decrypt", request)
            .await
            .map_err(|why| format!("failed to decrypt DEK, error: {why}"))?;
        let seed = Seed::try_from(answer.plaintext.as_slice()).map_err(|_| {
            format!(
                "invalid seed length {} used for key generation",
                answer.plaintext.len()
            )
        })?;
        kms.remember(envelope.encrypted_dek_source, seed);
        Ok(())
    }
}

impl Kms {
    /// Behind the socket at `path`. Nothing is asked yet.
    pub(super) fn new(name: &str, path: &str, timeout: Duration) -> Arc<Kms> {
        let path = PathBuf::from(path);
        // The address is never used: the connector knows where to go.
        let channel = Endpoint::from_static("http://localhost")
            .connect_timeout(timeout)
            .connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
                let path = path.clone();
                async move { UnixStream::connect(path).await.map(TokioIo::new) }
            }));
        Arc::new(Kms {
            prefix: format!("k8s:enc:kms:v2:{name}:").into_bytes(),
            name: name.to_owned(),
            channel,
            timeout,
            current: ArcSwapOption::empty(),
            health: tokio::sync::Mutex::default(),
            version: OnceLock::new(),
            known: Mutex::default(),
        })
    }

    /// Asks how the plugin is, now and from time to time, as long as somebody uses this.
    pub(super) async fn start(self: Arc<Self>) {
        let mut next = self.look().await;
        let weak = Arc::downgrade(&self);
        drop(self);
        tokio::spawn(async move {
            loop {
                // A plugin tells nobody that it is well, or that its key changed.
                tokio::time::sleep(next).await;
                let Some(kms) = Weak::upgrade(&weak) else { return };
                next = kms.look().await;
            }
        });
    }

    /// Looks after the plugin once; gives when to do it again.
    async fn look(&self) -> Duration {
        match self.check().await {
            Ok(()) => POLL.0,
            Err(why) => {
                tracing::warn!(provider = %self.name, why, "a key management service is not well");
                POLL.1
            }
        }
    }

    /// Whether the plugin is well, by its own word of a moment ago at most.
    ///
    /// # Errors
    /// Why it is not.
    pub(super) async fn check(&self) -> Result<(), String> {
        let mut health = self.health.lock().await;
        if let Some((at, outcome)) = &*health {
            let kept = if outcome.is_ok() { KEPT.0 } else { KEPT.1 };
            if at.elapsed() < kept {
                return outcome.clone();
            }
        }
        let outcome = self.refresh().await;
        *health = Some((Instant::now(), outcome.clone()));
        outcome
    }

    /// Asks how the plugin is, and makes a new seed when its key changed.
    async fn refresh(&self) -> Result<(), String> {
        // Whatever the answer takes is no longer the plugin's word.
        let until = Instant::now() + SEED_LIFE;
        let status: StatusResponse = self.call("Status", StatusRequest {}).await.map_err(|why| {
            let name = &self.name;
            format!(
                "failed to perform status section of the healthz check for KMS Provider {name}, error: {why}"
            )
        })?;
        let ill = |why: String| format!("kmsv2 Provider {} is not healthy, error: {why}", self.name);
        if status.healthz != "ok" {
            return Err(ill(format!("got unexpected healthz status: {}", status.healthz)));
        }
        if !matches!(status.version.as_str(), "v2" | "v2beta1") {
            return Err(ill(format!(
                "expected KMSv2 API version v2, got {}",
                status.version
            )));
        }
        let first = self.version.get_or_init(|| status.version.clone());
        if *first != status.version {
            return Err(ill(format!(
                "KMSv2 API version should not change after the initial status response version {first}, got {}",
                status.version
            )));
        }
        check_key(&status.key_id).map_err(|why| ill(format!("got invalid KMSv2 KeyID: {why}")))?;
        self.rotate(&status.key_id, until).await.map_err(ill)
    }

    /// Lets the seed live on when it is of this key, and makes a new one when not.
    async fn rotate(&self, key: &str, until: Instant) -> Result<(), String> {
        if let Some(now) = self.current.load_full()
            && now.envelope.key_id == key
        {
            self.current.store(Some(Arc::new(Current {
                seed: now.seed,
                envelope: now.envelope.clone(),
                until,
            })));
            return Ok(());
        }
        let mut seed: Seed = [0; SEED];
        rand::rng().fill_bytes(&mut seed);
        let request = EncryptRequest {
            plaintext: seed.to_vec(),
            uid: meta::new_uid(),
        };
        let answer: EncryptResponse = self
            .call("Encrypt", request)
            .await
            .map_err(|why| format!("failed to encrypt DEK, error: {why}"))?;
        check_key(&answer.key_id)?;
        if answer.key_id != key {
            // The key changed between the two answers: the next look finds them alike.
            return Err(
                "failed to rotate DEK: the key of the encryption is not the key of the status".to_owned(),
            );
        }
        if answer.ciphertext.is_empty() || answer.ciphertext.len() > MAX_NAME {
            return Err(format!(
                "encrypted DEK source is {} bytes, which exceeds the max size of {MAX_NAME} or is none",
                answer.ciphertext.len()
            ));
        }
        self.remember(answer.ciphertext.clone(), seed);
        let envelope = EncryptedObject {
            encrypted_data: Vec::new(),
            key_id: answer.key_id,
            encrypted_dek_source: answer.ciphertext,
            annotations: answer.annotations,
            encrypted_dek_source_type: HKDF_SEED,
        };
        self.current.store(Some(Arc::new(Current {
            seed,
            envelope,
            until,
        })));
        Ok(())
    }

    fn remember(&self, encrypted: Vec<u8>, seed: Seed) {
        let mut known = self.known.lock();
        if known.len() >= KNOWN {
            known.clear();
        }
        known.insert(encrypted, seed);
    }

    async fn call<Q, A>(&self, method: &str, question: Q) -> Result<A, String>
    where
        Q: prost::Message + Default + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        let path = PathAndQuery::try_from(format!("/v2.KeyManagementService/{method}"))
            .map_err(|e| e.to_string())?;
        let exchange = async {
            let mut client = tonic::client::Grpc::new(self.channel.clone());
            client.ready().await.map_err(|e| e.to_string())?;
            let codec: ProstCodec<Q, A> = ProstCodec::default();
            let answer = client.unary(Request::new(question), path, codec).await;
            answer
                .map(tonic::Response::into_inner)
                .map_err(|status| format!("{}: {}", status.code(), status.message()))
        };
        match tokio::time::timeout(self.timeout, exchange).await {
            Ok(done) => done,
            Err(_) => Err("context deadline exceeded".to_owned()),
        }
    }

    /// The stored form of a value.
    ///
    /// # Errors
    /// When the plugin was not well for too long.
    pub(super) fn seal(&self, context: &str, plain: &[u8]) -> Result<Vec<u8>, String> {
        let current = self.current.load_full();
        let Some(current) = current.filter(|current| current.until > Instant::now()) else {
            return Err(format!(
                "EDEK with keyID hash of KMS provider {:?} expired or was never made",
                self.name
            ));
        };
        let mut info = [0; SEED];
        rand::rng().fill_bytes(&mut info);
        let mut data = info.to_vec();
        derive(&current.seed, &info)
            .and_then(|key| cipher::seal(Algorithm::AesGcm, &key, context, plain, &mut data))
            .ok_or("failed to encrypt data")?;
        let envelope = EncryptedObject {
            encrypted_data: data,
            ..current.envelope.clone()
        };
        let mut out = self.prefix.clone();
        out.extend(envelope.encode_to_vec());
        Ok(out)
    }

    /// The value of a stored form without its prefix, and whether it would be written otherwise now.
    ///
    /// # Errors
    /// The outer one when its seed is not known yet, the inner one when it cannot be read.
    pub(super) fn open(self: &Arc<Self>, context: &str, sealed: &[u8]) -> Result<Opened, Box<Locked>> {
        let envelope = match EncryptedObject::decode(sealed) {
            Ok(envelope) => envelope,
            Err(why) => return Ok(Err(format!("failed to unmarshal encrypted object: {why}"))),
        };
        if envelope.encrypted_dek_source_type != HKDF_SEED {
            return Ok(Err("unknown encryptedDEKSourceType".to_owned()));
        }
        let known = self.known.lock().get(&envelope.encrypted_dek_source).copied();
        let Some(seed) = known else {
            return Err(Box::new(Locked {
                kms: self.clone(),
                envelope,
            }));
        };
        let plain = envelope
            .encrypted_data
            .split_at_checked(SEED)
            .and_then(|(info, data)| {
                let key = derive(&seed, info)?;
                cipher::open(Algorithm::AesGcm, &key, context, data)
            });
        let current = self.current.load();
        let stale = current
            .as_ref()
            .is_none_or(|current| current.envelope.key_id != envelope.key_id);
        Ok(plain
            .map(|plain| (plain, stale))
            .ok_or_else(|| "the stored data does not match the key".to_owned()))
    }
}

/// A value, and whether it would be written otherwise now; or why it cannot be read.
pub(super) type Opened = Result<(Vec<u8>, bool), String>;

/// The key of one value: HKDF's expansion of the seed.
fn derive(seed: &Seed, info: &[u8]) -> Option<Seed> {
    let mut key: Seed = [0; SEED];
    hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, seed)
        .expand(&[info], hkdf::HKDF_SHA256)
        .ok()?
        .fill(&mut key)
        .ok()?;
    Some(key)
}

fn check_key(name: &str) -> Result<(), String> {
    match name.len() {
        0 => Err("keyID is empty".to_owned()),
        1..=MAX_NAME => Ok(()),
        long => Err(format!(
            "keyID is {long} bytes, which exceeds the max size of {MAX_NAME}"
        )),
    }
}
