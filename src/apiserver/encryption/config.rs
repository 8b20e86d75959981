//! `apiserver.config.k8s.io/v1 EncryptionConfiguration`.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::cipher::{self, Algorithm, PREFIX};
use crate::machinery;

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
        let value = machinery::yaml(text)?;
        if value["kind"] != "EncryptionConfiguration" || value["apiVersion"] != "apiserver.config.k8s.io/v1" {
            return Err("expected kind EncryptionConfiguration of apiserver.config.k8s.io/v1".into());
        }
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
        Ok(Config { rules })
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
    let resources: Vec<String> = rule["resources"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
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

impl Rule {
    /// The stored form; `None` for a value that is stored as it is.
    pub(super) fn seal(&self, context: &str, plain: &[u8]) -> Option<Vec<u8>> {
        let Provider::Keyed(algorithm, keys) = self.providers.first()? else {
            return None;
        };
        let key = keys.first()?;
        let mut out = Vec::with_capacity(plain.len() + key.prefix.len() + 64);
        out.extend_from_slice(&key.prefix);
        cipher::seal(*algorithm, &key.secret, context, plain, &mut out)?;
        Some(out)
    }

    /// The plain form (`None`: the bytes as they are), and whether it would be written otherwise now.
    ///
    /// # Errors
    /// In upstream's words, when no provider can read it.
    pub(super) fn open(&self, context: &str, stored: &[u8]) -> Result<(Option<Vec<u8>>, bool), String> {
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
                        .ok_or_else(|| "the stored data does not match the key".to_owned());
                }
            }
        }
        Err(if stored.starts_with(PREFIX) {
            "no matching prefix found".to_owned()
        } else {
            "no matching prefix found: the value is not encrypted and no identity provider is configured"
                .to_owned()
        })
    }
}
