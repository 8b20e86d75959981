//! What a call costs at run time: cel-go's `interpreter/runtimecost.go` with
//! `k8s.io/apiserver/pkg/cel/library/cost.go`.

use crate::{
    check::Callee,
    value::{List, Map, Value},
};

/// Per character or byte that is traversed.
pub(crate) const TRAVERSAL: f64 = 0.1;
/// Per character of a regular expression.
pub(crate) const REGEX: f64 = 0.25;
/// The longest regular expression behind a named format.
pub(crate) const MAX_FORMAT_REGEX: u64 = 128;

fn part(size: u64, factor: f64) -> u64 {
    (size as f64 * factor).ceil() as u64
}

/// The cost of a call that gave `result`.
pub(crate) fn call(callee: &Callee, args: &[Value<'_>], result: &Value<'_>) -> u64 {
    let size = |i: usize| args.get(i).map_or(1, Value::cost_size);
    let overload = match callee.overloads.as_slice() {
        [one] => one,
        _ => "",
    };
    match callee.name {
        "check" => 350_000,
        "fieldSelector" | "labelSelector" => selector(size(1)),
        "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" => args.first().map_or(0, traversal),
        "url"
        | "lowerAscii"
        | "upperAscii"
        | "substring"
        | "trim"
        | "jsonpatch.escapeKey"
        | "cidr"
        | "isIP"
        | "isCIDR"
        | "quantity"
        | "isQuantity"
        | "semver"
        | "isSemver" => part(size(0), TRAVERSAL),
        // Upstream's estimators of the lists extension: elements read, or compared with each other.
        "slice" => match args {
            [_, Value::Int(from), Value::Int(to)] => to.abs_diff(*from).max(1),
            _ => 1,
        },
        "reverse" => size(0).max(1),
        "flatten" | "lists.range" => result.cost_size().max(1),
        // `sets` of cel-go's `ext`: each with each.
        "sets.contains" | "sets.intersects" => size(0).saturating_mul(size(1)).saturating_add(1),
        "sets.equivalent" => size(0)
            .saturating_mul(size(1))
            .saturating_mul(2)
            .saturating_add(1),
        "distinct" | "sort" | "@sortByAssociatedKeys" => size(0).saturating_mul(size(0)).max(1),
        "ip" if overload != "cidr_ip" => part(size(0), TRAVERSAL),
        "replace" | "split" | "ip.isCanonical" => part(size(0), 2.0 * TRAVERSAL),
        "join" => part(result.cost_size(), 2.0 * TRAVERSAL),
        "find" | "findAll" => part(size(0) + 1, TRAVERSAL) * part(size(1), REGEX),
        "containsIP" | "containsCIDR" => {
            let mut cost = part(2 * size(0), TRAVERSAL);
            if callee.name == "containsCIDR" {
                cost += part(size(0), TRAVERSAL) + 1;
            }
            if overload.ends_with("_string") {
                cost += part(size(1), TRAVERSAL);
            }
            cost
        }
        "validate" => part(size(1) + 1, TRAVERSAL) * part(MAX_FORMAT_REGEX, REGEX),
        "_==_"
            if matches!(
                args.first(),
                Some(
                    Value::Quantity(_)
                        | Value::Ip(_)
                        | Value::Cidr(_)
                        | Value::Format(_)
                        | Value::Url(_)
                        | Value::Semver(_)
                        | Value::Authz(_)
                )
            ) =>
        {
            1
        }
        _ => standard(overload, size),
    }
}

/// What a call costs at least, as far as its operands tell: before it is made, where that takes long or much
/// memory. At most what [`call`] says afterwards.
pub(crate) fn least(callee: &Callee, args: &[Value<'_>]) -> u64 {
    match (callee.name, args) {
        ("lists.range", [Value::Int(count)]) => u64::try_from(*count).unwrap_or(0),
        ("flatten", [Value::List(list), ..]) => list.iter().map(|item| item.cost_size()).sum(),
        ("join", [Value::List(list), ..]) => {
            part(list.iter().map(|item| item.cost_size()).sum(), 2.0 * TRAVERSAL)
        }
        _ => call(callee, args, &Value::Null),
    }
}

fn standard(overload: &str, size: impl Fn(usize) -> u64) -> u64 {
    match overload {
        "starts_with_string" | "ends_with_string" | "string_to_bytes" | "bytes_to_string"
        | "strings_quote" | "string_format" => part(size(0), TRAVERSAL),
        "in_list" => size(1),
        "less_string"
        | "greater_string"
        | "less_equals_string"
        | "greater_equals_string"
        | "less_bytes"
        | "greater_bytes"
        | "less_equals_bytes"
        | "greater_equals_bytes"
        | "equals"
        | "not_equals" => part(size(0).min(size(1)), TRAVERSAL),
        "add_string" | "add_bytes" => part(size(0) + size(1), TRAVERSAL),
        "matches" | "matches_string" => part(size(0) + 1, TRAVERSAL) * part(size(1), REGEX),
        "contains_string" => part(size(0), TRAVERSAL) * part(size(1), TRAVERSAL),
        _ => 1,
    }
}

/// Parsing a selector of this many characters.
pub(crate) fn selector(length: u64) -> u64 {
    let requirements = part(length, 0.5);
    10 + part(length, TRAVERSAL) + part(requirements, 50.0)
}

/// Walking through a whole value.
fn traversal(value: &Value<'_>) -> u64 {
    match value {
        Value::String(s) => (s.len() as f64 * TRAVERSAL) as u64,
        Value::Bytes(b) => (b.len() as f64 * TRAVERSAL) as u64,
        Value::List(List::Json(items, ty)) => items
            .iter()
            .map(|json| traversal(&Value::from_json(json, ty.element().unwrap_or(ty))))
            .sum(),
        Value::List(List::Own(items, _)) => items.iter().map(traversal).sum(),
        Value::Map(map @ Map::Own(_)) | Value::Map(map @ Map::Json(..)) => map
            .keys()
            .iter()
            .map(|key| traversal(key) + map.get(key).as_ref().map_or(0, traversal))
            .sum(),
        Value::Object(object) => object
            .names()
            .into_iter()
            .map(|name| {
                let value = object.field(&name).and_then(Result::ok);
                traversal(&Value::string(name)) + value.map_or(0, |(value, _)| traversal(&value))
            })
            .sum(),
        _ => 1,
    }
}
