//! Path and method -> [`RequestInfo`], by upstream's rules
//! (`k8s.io/apiserver/pkg/endpoints/request/requestinfo.go`).

use http::Method;
use rkind_apimachinery::selector::FieldSelector;

#[cfg(test)]
mod tests;

/// Subresources of a namespace itself, so `/namespaces/x/status` is no resource `status` in `x`.
const NAMESPACE_SUBRESOURCES: [&str; 2] = ["status", "finalize"];

/// What a request asks for, independent of who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RequestInfo {
    /// False for `/version`, `/healthz`, discovery and the like.
    pub is_resource: bool,
    /// The path as it came, without the query.
    pub path: String,
    /// `get list watch create update patch delete deletecollection proxy`, or the
    /// lower-case HTTP method for a request that is for no resource.
    pub verb: String,
    /// `api` or `apis`.
    pub prefix: String,
    /// Empty for the core group.
    pub group: String,
    /// For instance `v1`.
    pub version: String,
    /// Empty for cluster-scoped requests. For requests on namespaces themselves: the namespace's name.
    pub namespace: String,
    /// Plural lower-case name.
    pub resource: String,
    /// Empty for the resource itself.
    pub subresource: String,
    /// Empty for collections.
    pub name: String,
    /// Field selector of a read or deletion of many, decoded; empty for none.
    pub field_selector: String,
    /// Its label selector, likewise.
    pub label_selector: String,
    /// Path segments from the resource on (`pods/x/proxy/a/b`).
    pub parts: Vec<String>,
}

impl RequestInfo {
    /// Parses a method, path and query.
    pub(crate) fn parse(method: &Method, path: &str, query: Option<&str>) -> RequestInfo {
        let mut info = RequestInfo {
            path: path.to_owned(),
            verb: method.as_str().to_ascii_lowercase(),
            ..Default::default()
        };
        // Decoded as a whole, as upstream and the servers that requests are handed on to do it: an escaped
        // slash parts segments like any other.
        let segments: Vec<String> = decode(path)
            .split('/')
            .filter(|s| !s.is_empty())
            .map(str::to_owned)
            .collect();
        let mut parts: &[String] = &segments;
        if parts.len() < 3 || !matches!(parts[0].as_str(), "api" | "apis") {
            return info;
        }
        let prefix = parts[0].clone();
        parts = &parts[1..];
        let mut group = String::new();
        if prefix == "apis" {
            if parts.len() < 3 {
                return info;
            }
            group = parts[0].clone();
            parts = &parts[1..];
        }
        info.is_resource = true;
        info.prefix = prefix;
        info.group = group;
        info.version = parts[0].clone();
        parts = &parts[1..];

        info.verb = match method.as_str() {
            "POST" => "create",
            "GET" | "HEAD" => "get",
            "PUT" => "update",
            "PATCH" => "patch",
            "DELETE" => "delete",
            _ => "",
        }
        .to_owned();
        let special = matches!(parts[0].as_str(), "proxy" | "watch") && parts.len() > 1;
        if special {
            info.verb = parts[0].clone();
            parts = &parts[1..];
        }
        if parts[0] == "namespaces" && parts.len() > 1 {
            info.namespace = parts[1].clone();
            if parts.len() > 2 && !NAMESPACE_SUBRESOURCES.contains(&parts[2].as_str()) {
                parts = &parts[2..];
            }
        }
        info.parts = parts.to_vec();
        if parts.len() >= 3 && info.verb != "proxy" {
            info.subresource = parts[2].clone();
        }
        if parts.len() >= 2 {
            info.name = parts[1].clone();
        }
        info.resource = parts[0].clone();

        if info.name.is_empty() && info.verb == "get" {
            let watch = query_value(query, "watch").is_some_and(|v| truthy(&v));
            info.verb = if watch { "watch" } else { "list" }.to_owned();
            // A list of exactly one name is authorized with that name.
            info.read_selectors(query);
            info.name = exact_name(&info.field_selector).unwrap_or_default();
        }
        if info.name.is_empty() && info.verb == "delete" {
            info.verb = "deletecollection".to_owned();
            info.read_selectors(query);
        }
        info
    }

    fn read_selectors(&mut self, query: Option<&str>) {
        self.field_selector = query_value(query, "fieldSelector").unwrap_or_default();
        self.label_selector = query_value(query, "labelSelector").unwrap_or_default();
    }

    /// Name in the path; empty for collections even when a field selector names one object.
    pub(crate) fn path_name(&self) -> &str {
        self.parts.get(1).map_or("", String::as_str)
    }
}

/// Go's `strconv.ParseBool` as upstream's query conversion uses it: everything but `false`/`0` is true.
pub(crate) fn truthy(value: &str) -> bool {
    !matches!(value.to_ascii_lowercase().as_str(), "false" | "0")
}

/// First value of `key` in a raw query, decoded.
pub(crate) fn query_value(query: Option<&str>, key: &str) -> Option<String> {
    query?.split('&').find_map(|pair| {
        let (k, v) = pair.split_once('=').unwrap_or((pair, ""));
        (decode_query(k) == key).then(|| decode_query(v))
    })
}

/// Every pair of a raw query, decoded, in order.
pub(crate) fn query_pairs(query: Option<&str>) -> Vec<(String, String)> {
    query
        .unwrap_or_default()
        .split('&')
        .filter(|p| !p.is_empty())
        .map(|pair| {
            let (k, v) = pair.split_once('=').unwrap_or((pair, ""));
            (decode_query(k), decode_query(v))
        })
        .collect()
}

/// As [`query_pairs`], with the first value only of a key that is repeated.
pub(crate) fn first_pairs(query: Option<&str>) -> Vec<(String, String)> {
    let mut pairs = query_pairs(query);
    let mut seen = std::collections::HashSet::new();
    pairs.retain(|(key, _)| seen.insert(key.clone()));
    pairs
}

/// The one name that a field selector chooses, if it can stand in a path.
fn exact_name(selector: &str) -> Option<String> {
    if selector.is_empty() {
        return None;
    }
    let selector = FieldSelector::parse(selector).ok()?;
    let name = selector.exact("metadata.name")?;
    let segment = !matches!(name, "." | "..") && !name.contains(['/', '%']);
    segment.then(|| name.to_owned())
}

fn decode(segment: &str) -> String {
    percent_encoding::percent_decode_str(segment)
        .decode_utf8_lossy()
        .into_owned()
}

fn decode_query(text: &str) -> String {
    let plus = text.replace('+', " ");
    percent_encoding::percent_decode_str(&plus)
        .decode_utf8_lossy()
        .into_owned()
}
