//! So many core Events may be written, and no more. Upstream: `plugin/pkg/admission/eventratelimit`.

use std::time::Instant;

use async_trait::async_trait;
use indexmap::IndexMap;
use parking_lot::Mutex;
use rkind_apimachinery::status::Status;
use serde::Deserialize;
use serde_json::Value;

use super::{Operation, Request, Validate};
use crate::{config_file::Kind, error::Result};

const KIND: Kind = Kind {
    name: "Configuration",
    group: "eventratelimit.admission.k8s.io",
    versions: &["v1alpha1"],
};

/// Keys that are counted apart, where the configuration does not say.
const CACHE: usize = 4096;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Configuration {
    #[serde(default)]
    limits: Vec<Limit>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Limit {
    #[serde(rename = "type")]
    kind: Type,
    /// Events in a second.
    #[serde(default)]
    qps: i32,
    /// Events at once.
    #[serde(default)]
    burst: i32,
    #[serde(default)]
    cache_size: i32,
}

/// What is counted together.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
enum Type {
    Server,
    Namespace,
    User,
    SourceAndObject,
}

/// Tokens that are left, as of a time.
#[derive(Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

struct Enforcer {
    limit: Limit,
    /// The least recently used first.
    buckets: Mutex<IndexMap<String, Bucket>>,
}

impl Enforcer {
    /// Whether one more may come now.
    fn takes(&self, key: &str, now: Instant) -> bool {
        let burst = f64::from(self.limit.burst);
        let mut buckets = self.buckets.lock();
        let mut bucket = buckets.shift_remove(key).unwrap_or(Bucket {
            tokens: burst,
            at: now,
        });
        let since = now.saturating_duration_since(bucket.at).as_secs_f64();
        bucket.tokens = burst.min(bucket.tokens + since * f64::from(self.limit.qps));
        bucket.at = now;
        let takes = bucket.tokens >= 1.0;
        if takes {
            bucket.tokens -= 1.0;
        }
        let most = match usize::try_from(self.limit.cache_size) {
            Ok(0) | Err(_) => CACHE,
            Ok(most) => most,
        };
        while buckets.len() >= most {
            buckets.shift_remove_index(0);
        }
        buckets.insert(key.to_owned(), bucket);
        takes
    }
}

pub(super) struct EventRateLimit(Vec<Enforcer>);

impl EventRateLimit {
    /// By a plugin's configuration.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn new(configuration: &Value) -> Result<Self, String> {
        let read: Configuration = KIND.of(configuration.clone())?;
        if read.limits.is_empty() {
            return Err("limits: Invalid value: null: must not be empty".to_owned());
        }
        for (index, limit) in read.limits.iter().enumerate() {
            for (name, number) in [("burst", limit.burst), ("qps", limit.qps)] {
                if number <= 0 {
                    return Err(format!(
                        "limits[{index}].{name}: Invalid value: {number}: must be positive"
                    ));
                }
            }
            if limit.kind != Type::Server && limit.cache_size < 0 {
                let size = limit.cache_size;
                return Err(format!(
                    "limits[{index}].cacheSize: Invalid value: {size}: must not be negative"
                ));
            }
        }
        let enforcers = read.limits.into_iter().map(|limit| Enforcer {
            limit,
            buckets: Mutex::default(),
        });
        Ok(EventRateLimit(enforcers.collect()))
    }
}

fn key(kind: Type, request: &Request<'_>) -> String {
    let text = |part: &str, field: &str| {
        let value = &request.object[part][field];
        value.as_str().unwrap_or_default().to_owned()
    };
    match kind {
        Type::Server => String::new(),
        Type::Namespace => request.namespace.to_owned(),
        Type::User => request.user.name.clone(),
        Type::SourceAndObject => {
            let source = ["component", "host"].map(|field| text("source", field));
            let object = ["kind", "namespace", "name", "uid", "apiVersion"];
            let object = object.map(|field| text("involvedObject", field));
            [source.concat(), object.concat()].concat()
        }
    }
}

#[async_trait]
impl Validate for EventRateLimit {
    fn name(&self) -> &'static str {
        "EventRateLimit"
    }

    async fn validate(&self, request: &Request<'_>) -> Result<()> {
        let writes = matches!(request.operation, Operation::Create | Operation::Update);
        if !writes || request.dry_run || !request.def.group.is_empty() || request.def.kind != "Event" {
            return Ok(());
        }
        let now = Instant::now();
        let full = self.0.iter().filter_map(|enforcer| {
            let kind = enforcer.limit.kind;
            let key = key(kind, request);
            let refused = !enforcer.takes(&key, now);
            refused.then(|| format!("limit reached on type {kind:?} for key {key}"))
        });
        let full: Vec<String> = full.collect();
        let why = match full.as_slice() {
            [] => return Ok(()),
            [only] => only.clone(),
            several => format!("[{}]", several.join(", ")),
        };
        Err(Status::failure(429, "TooManyRequests", format!("Too many requests: {why}")).into())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn limits(limits: Value) -> Result<EventRateLimit, String> {
        EventRateLimit::new(&json!({"apiVersion": "eventratelimit.admission.k8s.io/v1alpha1",
            "kind": "Configuration", "limits": limits}))
    }

    #[test]
    fn a_bucket_fills_again_and_the_oldest_is_forgotten() {
        let plugin = limits(json!([{"type": "User", "qps": 2, "burst": 3, "cacheSize": 2}])).unwrap();
        let (enforcer, now) = (&plugin.0[0], Instant::now());
        let taken = |key: &str, at: Instant| (0..5).filter(|_| enforcer.takes(key, at)).count();
        assert_eq!(taken("a", now), 3);
        assert_eq!(taken("b", now), 3);
        assert_eq!(taken("a", now + Duration::from_secs(1)), 2);
        assert_eq!(taken("a", now + Duration::from_secs(60)), 3);
        // The third key takes the place of the second, which then begins anew.
        assert_eq!(taken("c", now), 3);
        assert_eq!(taken("b", now), 3);
    }

    #[test]
    fn what_is_no_limit_is_named() {
        for (wrong, why) in [
            (json!([]), "limits: Invalid value"),
            (json!([{"type": "Server", "qps": 1}]), "limits[0].burst"),
            (json!([{"type": "Server", "burst": 1}]), "limits[0].qps"),
            (
                json!([{"type": "User", "qps": 1, "burst": 1, "cacheSize": -1}]),
                "limits[0].cacheSize",
            ),
            (json!([{"type": "Nobody", "qps": 1, "burst": 1}]), "Nobody"),
        ] {
            let error = limits(wrong).err().unwrap();
            assert!(error.contains(why), "{error}");
        }
    }
}
