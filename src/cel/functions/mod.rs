//! The functions. Each takes its operands (the target first) and fails with upstream's words.

pub(crate) mod convert;
pub(crate) mod format;
pub(crate) mod formats;
pub(crate) mod lists;
pub(crate) mod net;
pub(crate) mod operators;
pub(crate) mod quantities;
pub(crate) mod regex;
pub(crate) mod semver;
pub(crate) mod strings;
pub(crate) mod time;
pub(crate) mod urls;

use crate::{authz, value::Value};

/// A function by its name, on its operands.
pub(crate) type Imp = for<'a> fn(&str, &[Value<'a>]) -> Out<'a>;

pub(crate) type Out<'a> = Result<Value<'a>, String>;

pub(crate) const NO_OVERLOAD: &str = "no such overload";

pub(crate) fn no_overload<'a>() -> Out<'a> {
    Err(NO_OVERLOAD.to_owned())
}

/// What runs a function; `None` for what the interpreter does itself.
pub(crate) fn find(name: &str) -> Option<Imp> {
    Some(match name {
        "_==_" | "_!=_" | "_<_" | "_<=_" | "_>_" | "_>=_" | "_+_" | "_-_" | "_*_" | "_/_" | "_%_" | "-_"
        | "!_" | "@in" | "size" => operators::call,
        "bool" | "bytes" | "double" | "int" | "uint" | "string" | "type" | "timestamp" | "duration" => {
            convert::call
        }
        "getFullYear" | "getMonth" | "getDayOfYear" | "getDayOfMonth" | "getDate" | "getDayOfWeek"
        | "getHours" | "getMinutes" | "getSeconds" | "getMilliseconds" => time::call,
        "optional.of"
        | "optional.ofNonZeroValue"
        | "optional.none"
        | "value"
        | "hasValue"
        | "or"
        | "orValue" => optional,
        "contains"
        | "startsWith"
        | "endsWith"
        | "charAt"
        | "lowerAscii"
        | "upperAscii"
        | "replace"
        | "split"
        | "substring"
        | "trim"
        | "join"
        | "strings.quote"
        | "jsonpatch.escapeKey" => strings::call,
        "format" => format::call,
        "matches" | "find" | "findAll" => regex::call,
        "isSorted" | "sum" | "max" | "min" | "sets.contains" | "sets.equivalent" | "sets.intersects"
        | "cel.@mapInsert" => lists::call,
        "slice"
        | "flatten"
        | "distinct"
        | "reverse"
        | "lists.range"
        | "first"
        | "last"
        | "sort"
        | "@sortByAssociatedKeys" => lists::ext::call,
        "indexOf" | "lastIndexOf" => index_of,
        "url" | "isURL" | "getScheme" | "getHost" | "getHostname" | "getPort" | "getEscapedPath"
        | "getQuery" => urls::call,
        "quantity" | "isQuantity" | "sign" | "asApproximateFloat" | "asInteger" | "isInteger" | "add"
        | "sub" => quantities::call,
        "isGreaterThan" | "isLessThan" | "compareTo" => compare,
        "ip"
        | "isIP"
        | "ip.isCanonical"
        | "family"
        | "isUnspecified"
        | "isLoopback"
        | "isLinkLocalMulticast"
        | "isLinkLocalUnicast"
        | "isGlobalUnicast"
        | "cidr"
        | "isCIDR"
        | "containsIP"
        | "containsCIDR"
        | "prefixLength"
        | "masked" => net::call,
        "validate" => formats::call,
        name if name.starts_with("format.") => formats::call,
        "isSemver" | "semver" | "major" | "minor" | "patch" => semver::call,
        "path" | "group" | "serviceAccount" | "resource" | "subresource" | "namespace" | "name" | "check"
        | "fieldSelector" | "labelSelector" | "errored" | "error" | "allowed" | "reason" => authorize,
        _ => return None,
    })
}

fn authorize<'a>(name: &str, args: &[Value<'a>]) -> Out<'a> {
    authz::call(name, args).unwrap_or_else(no_overload)
}

fn index_of<'a>(name: &str, args: &[Value<'a>]) -> Out<'a> {
    match args.first() {
        Some(Value::String(_)) => strings::call(name, args),
        _ => lists::call(name, args),
    }
}

fn compare<'a>(name: &str, args: &[Value<'a>]) -> Out<'a> {
    match args.first() {
        Some(Value::Semver(_)) => semver::call(name, args),
        _ => quantities::call(name, args),
    }
}

fn optional<'a>(name: &str, args: &[Value<'a>]) -> Out<'a> {
    Ok(match (name, args) {
        ("optional.none", []) => Value::Optional(None),
        ("optional.of", [value]) => Value::optional(Some(value.clone())),
        ("optional.ofNonZeroValue", [value]) => Value::optional((!is_zero(value)).then(|| value.clone())),
        ("value", [Value::Optional(Some(inner))]) => (**inner).clone(),
        ("value", [Value::Optional(None)]) => return Err("optional.none() dereference".into()),
        ("hasValue", [Value::Optional(inner)]) => Value::Bool(inner.is_some()),
        ("or", [Value::Optional(None), other @ Value::Optional(_)]) => other.clone(),
        ("or", [first @ Value::Optional(Some(_)), Value::Optional(_)]) => first.clone(),
        ("orValue", [Value::Optional(None), other]) => other.clone(),
        ("orValue", [Value::Optional(Some(inner)), _]) => (**inner).clone(),
        _ => return no_overload(),
    })
}

fn is_zero(value: &Value<'_>) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(b) => !b,
        Value::Int(i) => *i == 0,
        Value::Uint(u) => *u == 0,
        Value::Double(d) => *d == 0.0,
        Value::String(s) => s.is_empty(),
        Value::Bytes(b) => b.is_empty(),
        Value::Duration(d) => d.is_zero(),
        Value::List(list) => list.is_empty(),
        Value::Map(map) => map.is_empty(),
        Value::Object(object) => object.names().is_empty(),
        Value::Optional(inner) => inner.is_none(),
        _ => false,
    }
}
