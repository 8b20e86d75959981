//! `apiserver.config.k8s.io/v1 EncryptionConfiguration`.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::{
    cipher::{self, Algorithm, PREFIX},
    kms::{Kms, Locked},
};
use crate::{config_file::Kind, deadline, machinery::strings};

/// How long a key management service may take, unless configured.
const KMS_TIMEOUT: &str = "3s";

const KIND: Kind = Kind {
    name: "EncryptionConfiguration",
    group: "apiserver.config.k8s.io",
    versions: &["v1"],
};

/// A configuration, checked.
pub(super) struct Config {
    rules: Vec<Rule>,
}

/// How some resources are stored.
pub(super) struct Rule {
    resources: Vec<String>,
    providers: Vec<Provider>,
}

enum Provider {
    Identity,
    Keyed(Algorithm, Vec<Key>),
    Kms(Arc<Kms>),
}

/// Why a stored value is not opened.
#[derive(Debug)]
pub(super) enum Unopened {
    /// In upstream's words.
    Refused(String),
    /// Somebody has to be asked before.
    Locked(Box<Locked>),
}

struct Key {
    /// `k8s:enc:ALGORITHM:v1:NAME:`
    prefix: Vec<u8>,
    secret: Vec<u8>,
}

impl Config {
    /// Reads a configuration.
    ///
    /// # Errors
    /// What is wrong with it, by field.
    pub(super) fn parse(text: &str) -> Result<Config, String> {
        let value: Value = KIND.read(text)?;
        let rules: Vec<Rule> = value["resources"]
            .as_array()
            .into_iter()
            .flatten()
            .enumerate()
            .map(|(at, rule)| read(rule).map_err(|why| format!("resources[{at}].{why}")))
            .collect::<Result<_, _>>()?;
        if rules.is_empty() {
            return Err("resources: Required value: at least one resource is required".into());
        }
        let config = Config { rules };
        let names: Vec<&[u8]> = config.services().map(|kms| kms.prefix.as_slice()).collect();
        if let Some(twice) = names
            .iter()
            .enumerate()
            .find(|(i, name)| names[..*i].contains(*name))
        {
            return Err(format!(
                "kms.name: Invalid value: duplicate KMS provider name {:?}, names must be unique",
                String::from_utf8_lossy(twice.1)
            ));
        }
        Ok(config)
    }

    /// The key management services that are used.
    pub(super) fn services(&self) -> impl Iterator<Item = &Arc<Kms>> {
        let providers = self.rules.iter().flat_map(|rule| &rule.providers);
        providers.filter_map(|provider| match provider {
            Provider::Kms(kms) => Some(kms),
            _ => None,
        })
    }

    /// The first rule that holds for a resource (`secrets`, `deployments.apps`).
    pub(super) fn rule(&self, resource: &str) -> Option<&Rule> {
        let group = resource.split_once('.').map_or("", |(_, group)| group);
        let fits = |wanted: &String| match wanted.as_str() {
            "*.*" => true,
            wanted => wanted == resource || wanted.strip_prefix("*.") == Some(group),
        };
        self.rules.iter().find(|rule| rule.resources.iter().any(fits))
    }
}

fn read(rule: &Value) -> Result<Rule, String> {
    let resources = strings(&rule["resources"]);
    if resources.is_empty() {
        return Err("resources: Required value: at least one resource is required".into());
    }
    if let Some(wrong) = resources.iter().find(|r| *r == "*" || r.starts_with("*.*.")) {
        return Err(format!(
            "resources: Invalid value: {wrong:?}: resource name should not contain only \"*\", use \"*.*\" or \"*.<group>\""
        ));
    }
    let mut providers = Vec::new();
    for (at, entry) in rule["providers"].as_array().into_iter().flatten().enumerate() {
        let provider = provider(entry).map_err(|why| format!("providers[{at}]{why}"))?;
        providers.push(provider);
    }
    if providers.is_empty() {
        return Err("providers: Required value: at least one provider is required".into());
    }
    Ok(Rule { resources, providers })
}

fn provider(entry: &Value) -> Result<Provider, String> {
    let fields = entry.as_object().filter(|o| o.len() == 1);
    let Some((name, body)) = fields.and_then(|o| o.iter().next()) else {
        return Err(
            ": Invalid value: more than one provider specified in a single element, should split into different list elements"
                .into(),
        );
    };
    let algorithm = match name.as_str() {
        "identity" => return Ok(Provider::Identity),
        "kms" => return kms(body),
        "aescbc" => Algorithm::AesCbc,
        "aesgcm" => Algorithm::AesGcm,
        "secretbox" => Algorithm::SecretBox,
        other => return Err(format!(": provider {other:?} is not supported")),
    };
    let mut keys: Vec<Key> = Vec::new();
    for (at, key) in body["keys"].as_array().into_iter().flatten().enumerate() {
        let path = format!(".{name}.keys[{at}]");
        let label = key["name"].as_str().unwrap_or_default();
        if label.is_empty() {
            return Err(format!("{path}.name: Required value: key name is required"));
        }
        let secret = STANDARD
            .decode(key["secret"].as_str().unwrap_or_default())
            .map_err(|_| {
                format!("{path}.secret: Invalid value: \"REDACTED\": secret must be base64 encoded")
            })?;
        if !algorithm.key_lengths().contains(&secret.len()) {
            return Err(format!(
                "{path}.secret: Invalid value: \"REDACTED\": secret is not of the expected length, got {}, expected one of {:?}",
                secret.len(),
                algorithm.key_lengths()
            ));
        }
        keys.push(Key {
            prefix: format!("k8s:enc:{}:v1:{label}:", algorithm.as_str()).into_bytes(),
            secret,
        });
    }
    if keys.is_empty() {
        return Err(format!(
            ".{name}.keys: Required value: at least one key is required"
        ));
    }
    Ok(Provider::Keyed(algorithm, keys))
}

/// A key management service, version 2.
fn kms(body: &Value) -> Result<Provider, String> {
    let text = |field: &str| body[field].as_str().unwrap_or_default();
    let (name, endpoint) = (text("name"), text("endpoint"));
    match text("apiVersion") {
        "v2" => {}
        "" | "v1" => {
            return Err(
                ".kms.apiVersion: Invalid value: \"v1\": KMSv1 is not served any more, use v2".into(),
            );
        }
        other => {
            return Err(format!(
                ".kms.apiVersion: Invalid value: {other:?}: unsupported apiVersion apiVersion for KMS provider, only v1 and v2 are supported"
            ));
        }
    }
    if name.is_empty() {
        return Err(".kms.name: Required value: name is a mandatory field for a provider".into());
    }
    if name.contains(':') {
        return Err(format!(
            ".kms.name: Invalid value: {name:?}: invalid KMS provider name {name}, must not contain ':'"
        ));
    }
    if !body["cachesize"].is_null() {
        return Err(format!(
            ".kms.cachesize: Invalid value: {}: cachesize is not supported in v2",
            body["cachesize"]
        ));
    }
    if endpoint.is_empty() {
        return Err(".kms.endpoint: Invalid value: \"\": endpoint is a mandatory field for a kms".into());
    }
    let Some(path) = endpoint.strip_prefix("unix://") else {
        let scheme = endpoint.split_once(':').map_or("", |(scheme, _)| scheme);
        return Err(format!(
            ".kms.endpoint: Invalid value: {endpoint:?}: unsupported scheme {scheme:?} for KMS provider, only unix is supported"
        ));
    };
    let told = body["timeout"].as_str().unwrap_or(KMS_TIMEOUT);
    let timeout = deadline::duration(told)
        .ok()
        .filter(|timeout| !timeout.is_zero())
        .ok_or_else(|| {
            format!(".kms.timeout: Invalid value: {told:?}: timeout should be a positive value")
        })?;
    Ok(Provider::Kms(Kms::new(name, path, timeout)))
}

impl Rule {
    /// The stored form; `None` for a value that is stored as it is.
    ///
    /// # Errors
    /// When it cannot be encrypted now.
    pub(super) fn seal(&self, context: &str, plain: &[u8]) -> Result<Option<Vec<u8>>, String> {
        let (algorithm, key) = match self.providers.first() {
            Some(Provider::Keyed(algorithm, keys)) => match keys.first() {
                Some(key) => (*algorithm, key),
                None => return Ok(None),
            },
            Some(Provider::Kms(kms)) => return kms.seal(context, plain).map(Some),
            Some(Provider::Identity) | None => return Ok(None),
        };
        let mut out = Vec::with_capacity(plain.len() + key.prefix.len() + 64);
        out.extend_from_slice(&key.prefix);
        cipher::seal(algorithm, &key.secret, context, plain, &mut out).ok_or("failed to encrypt data")?;
        Ok(Some(out))
    }

    /// The plain form (`None`: the bytes as they are), and whether it would be written otherwise now.
    ///
    /// # Errors
    /// When no provider can read it, or somebody has to be asked before.
    pub(super) fn open(&self, context: &str, stored: &[u8]) -> Result<(Option<Vec<u8>>, bool), Unopened> {
        for (number, provider) in self.providers.iter().enumerate() {
            match provider {
                Provider::Identity if !stored.starts_with(PREFIX) => return Ok((None, number > 0)),
                Provider::Identity => {}
                Provider::Keyed(algorithm, keys) => {
                    let mut own = keys.iter().enumerate();
                    let Some((at, key)) = own.find(|(_, key)| stored.starts_with(&key.prefix)) else {
                        continue;
                    };
                    let sealed = &stored[key.prefix.len()..];
                    return cipher::open(*algorithm, &key.secret, context, sealed)
                        .map(|plain| (Some(plain), number > 0 || at > 0))
                        .ok_or_else(|| Unopened::Refused("the stored data does not match the key".into()));
                }
                Provider::Kms(kms) => {
                    let Some(sealed) = stored.strip_prefix(kms.prefix.as_slice()) else {
                        continue;
                    };
                    let opened = kms.open(context, sealed);
                    return match opened.map_err(Unopened::Locked)? {
                        Ok((plain, stale)) => Ok((Some(plain), number > 0 || stale)),
                        Err(why) => Err(Unopened::Refused(why)),
                    };
                }
            }
        }
        let why = if stored.starts_with(PREFIX) {
            "no matching prefix found"
        } else {
            "no matching prefix found: the value is not encrypted and no identity provider is configured"
        };
        Err(Unopened::Refused(why.to_owned()))
    }
}
