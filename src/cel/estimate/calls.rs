//! Estimates of calls: cel-go's own, and those of `k8s.io/apiserver/pkg/cel/library/cost.go`.

use super::{Cost, Estimator, ONE};
use crate::{
    ast::{Expr, Kind, Literal},
    check::{Callee, Meaning},
    cost::{MAX_FORMAT_REGEX, REGEX, TRAVERSAL},
    types::{self, Type},
};

/// A call's cost without its arguments', and the size of its result.
type Estimate = (Cost, Option<Cost>);

/// Target and arguments of a call.
struct Operands<'p> {
    target: Option<&'p Expr>,
    args: &'p [Expr],
}

impl<'p> Estimator<'p> {
    pub(super) fn call(
        &mut self,
        expr: &'p Expr,
        function: &str,
        target: Option<&'p Expr>,
        args: &'p [Expr],
    ) -> Cost {
        if function == "dyn" && args.len() == 1 {
            let cost = self.cost(&args[0]);
            if let Some(size) = self.size(&args[0]) {
                self.computed.insert(expr.id, size);
            }
            if let Some(entry) = self.entry(&args[0]) {
                self.entries.insert(expr.id, entry);
            }
            return cost.plus(ONE);
        }
        let arg_costs: Vec<Cost> = args.iter().map(|arg| self.cost(arg)).collect();
        let all = arg_costs
            .iter()
            .fold(Cost::default(), |sum, cost| sum.plus(*cost));
        let Some(Meaning::Call(callee)) = self.program.meanings.get(&expr.id) else {
            // Optional field selection, which the checker resolves by itself.
            return all.plus(ONE);
        };
        let mut sum = Cost::default();
        let target = target.filter(|_| callee.member);
        if let Some(target) = target {
            sum = self.cost(target);
        }
        let operands = Operands { target, args };
        let mut total: Option<Cost> = None;
        let mut result: Option<Cost> = None;
        for overload in &callee.overloads {
            let (cost, size) = match *overload {
                "logical_or" | "logical_and" => {
                    let (left, right) = (arg_costs[0], arg_costs[1]);
                    let cost = Cost {
                        min: left.min,
                        max: left.plus(right).max,
                    };
                    (cost, None)
                }
                "conditional" => {
                    let size = self.size_or_unknown(&args[1]);
                    let size = size.union(self.size_or_unknown(&args[2]));
                    self.union_entries(expr, &args[1], &args[2]);
                    let branches = arg_costs[1].union(arg_costs[2]);
                    (arg_costs[0].plus(branches), Some(size))
                }
                _ => {
                    let (cost, size) = match self.library(callee, overload, &operands) {
                        Some(estimate) => estimate,
                        None => self.standard(expr, overload, &operands),
                    };
                    (cost.plus(all), size)
                }
            };
            total = Some(total.map_or(cost, |t| t.union(cost)));
            if let Some(size) = size {
                result = Some(result.map_or(size, |r| r.union(size)));
            }
            let step = match *overload {
                "index_list" => Some("@items"),
                "index_map" => Some("@values"),
                _ => None,
            };
            if let Some(step) = step {
                result = self.entry(&args[0]).map(|entry| entry.value);
                let path = self.below(&args[0], step);
                self.paths.insert(expr.id, path);
            }
            if result.is_none() {
                result = self.size(expr);
            }
        }
        if let Some(size) = result {
            self.computed.insert(expr.id, size);
        }
        sum.plus(total.unwrap_or_default())
    }

    fn union_entries(&mut self, expr: &Expr, a: &Expr, b: &Expr) {
        if let (Some(a), Some(b)) = (self.entry(a), self.entry(b)) {
            let entry = super::EntrySize {
                list: a.list,
                key: a.key.union(b.key),
                value: a.value.union(b.value),
            };
            self.entries.insert(expr.id, entry);
        }
    }

    fn standard(&mut self, expr: &'p Expr, overload: &str, on: &Operands<'p>) -> Estimate {
        let first = |this: &mut Self| {
            on.args
                .first()
                .map_or(Cost::UNKNOWN, |arg| this.size_or_unknown(arg))
        };
        let second = |this: &mut Self| {
            on.args
                .get(1)
                .map_or(Cost::UNKNOWN, |arg| this.size_or_unknown(arg))
        };
        let target = |this: &mut Self| {
            on.target
                .map_or(Cost::UNKNOWN, |target| this.size_or_unknown(target))
        };
        match overload {
            "string_format" => {
                let size = target(self);
                let all = size.plus(first(self));
                (size.part(TRAVERSAL), Some(all))
            }
            "string_to_bytes" => {
                let size = first(self);
                let result = Cost {
                    min: size.min,
                    max: size.max.saturating_mul(4),
                };
                (size.part(TRAVERSAL), Some(result))
            }
            "bytes_to_string" => {
                let size = first(self);
                let result = Cost {
                    min: size.min / 4,
                    max: size.max,
                };
                (size.part(TRAVERSAL), Some(result))
            }
            "strings_quote" => {
                let size = first(self);
                let result = Cost {
                    min: size.min.saturating_add(2),
                    max: size.max.saturating_mul(2).saturating_add(2),
                };
                (size.part(TRAVERSAL), Some(result))
            }
            "starts_with_string" | "ends_with_string" => (first(self).part(TRAVERSAL), None),
            "in_list" => (second(self).part(1.0), None),
            "matches_string" => (
                target(self)
                    .plus(ONE)
                    .part(TRAVERSAL)
                    .times(first(self).part(REGEX)),
                None,
            ),
            "contains_string" => (
                target(self).part(TRAVERSAL).times(first(self).part(TRAVERSAL)),
                None,
            ),
            "add_string" | "add_bytes" | "add_list" => {
                let size = first(self).plus(second(self));
                self.union_entries(expr, &on.args[0], &on.args[1]);
                let cost = if overload == "add_list" {
                    ONE
                } else {
                    size.part(TRAVERSAL)
                };
                (cost, Some(size))
            }
            "less_string"
            | "greater_string"
            | "less_equals_string"
            | "greater_equals_string"
            | "less_bytes"
            | "greater_bytes"
            | "less_equals_bytes"
            | "greater_equals_bytes"
            | "equals"
            | "not_equals" => {
                let max = first(self).max.min(second(self).max);
                let cost = Cost {
                    min: u64::from(max > 0),
                    max,
                };
                (cost.part(TRAVERSAL), None)
            }
            _ => (ONE, None),
        }
    }

    fn library(&mut self, callee: &Callee, overload: &str, on: &Operands<'p>) -> Option<Estimate> {
        let text = |this: &mut Self, n: usize| {
            on.args
                .get(n)
                .map_or(Cost::UNKNOWN, |arg| this.size_or_unknown(arg))
        };
        let cost = match callee.name {
            "sets.contains" | "sets.intersects" => text(self, 0).times(text(self, 1)).plus(ONE),
            "sets.equivalent" => text(self, 0).times(text(self, 1)).part(2.0).plus(ONE),
            "check" => Cost::fixed(350_000),
            "serviceAccount"
            | "path"
            | "group"
            | "resource"
            | "subresource"
            | "namespace"
            | "name"
            | "allowed"
            | "reason"
            | "error"
            | "errored"
            | "masked"
            | "prefixLength"
            | "family"
            | "isUnspecified"
            | "isLoopback"
            | "isLinkLocalMulticast"
            | "isLinkLocalUnicast"
            | "isGlobalUnicast"
            | "format.named"
            | "sign"
            | "asInteger"
            | "isInteger"
            | "asApproximateFloat"
            | "isGreaterThan"
            | "isLessThan"
            | "compareTo"
            | "add"
            | "sub"
            | "major"
            | "minor"
            | "patch"
            | "getScheme"
            | "getHostname"
            | "getHost"
            | "getPort"
            | "getEscapedPath"
            | "getQuery" => ONE,
            "fieldSelector" | "labelSelector" => {
                let length = text(self, 0);
                Cost::fixed(10)
                    .plus(length.part(TRAVERSAL))
                    .plus(length.part(0.5).part(50.0))
            }
            "url" | "jsonpatch.escapeKey" => {
                let size = text(self, 0);
                return Some((size.part(TRAVERSAL), Some(size)));
            }
            "_==_" => self.equality(on)?,
            // Without target upstream has no estimate for these; only the nominal one applies.
            "ip" if on.target.is_some() => ONE,
            _ => return self.on_target(callee, overload, on),
        };
        Some((cost, None))
    }

    /// Functions whose estimate needs the size of their target.
    fn on_target(&mut self, callee: &Callee, overload: &str, on: &Operands<'p>) -> Option<Estimate> {
        let target = on.target?;
        let size = self.size_or_unknown(target);
        let arg = |this: &mut Self, n: usize| {
            on.args
                .get(n)
                .map_or(Cost::UNKNOWN, |arg| this.size_or_unknown(arg))
        };
        Some(match callee.name {
            "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" => {
                match self.element_size(target) {
                    Some((ty, element)) => {
                        let mut each = ONE;
                        if matches!(ty, Type::String | Type::Bytes) {
                            each = each.plus(element.part(TRAVERSAL));
                        }
                        (size.times(each), None)
                    }
                    None => (size.part(TRAVERSAL), None),
                }
            }
            "slice" | "reverse" | "flatten" => (
                Cost {
                    min: size.min.max(1),
                    max: size.max.max(1),
                },
                Some(Cost { min: 0, ..size }),
            ),
            "distinct" | "sort" | "@sortByAssociatedKeys" => {
                let square = size.times(size);
                let cost = Cost {
                    min: square.min.max(1),
                    max: square.max.max(1),
                };
                (cost, Some(size))
            }
            "lowerAscii" | "upperAscii" | "substring" | "trim" => (size.part(TRAVERSAL), Some(size)),
            "replace" => {
                let (from, to) = (arg(self, 0), arg(self, 1));
                (size.part(2.0 * TRAVERSAL), Some(replaced(size, from, to)))
            }
            "split" => {
                let mut max = size.max;
                if let Some(Expr {
                    kind: Kind::Literal(Literal::Int(n)),
                    ..
                }) = on.args.get(1)
                {
                    max = *n as u64;
                }
                (size.part(2.0 * TRAVERSAL), Some(Cost { min: 0, max }))
            }
            "join" => {
                let mut result = Cost::default();
                if let Some((_, element)) = self.element_size(target) {
                    result = size.times(element);
                }
                if !on.args.is_empty() {
                    let between = Cost {
                        min: size.min.saturating_sub(1),
                        max: size.max.saturating_sub(1),
                    };
                    result = result.plus(arg(self, 0).times(between));
                }
                (result.part(TRAVERSAL), Some(result))
            }
            "find" | "findAll" => {
                let cost = size.plus(ONE).part(TRAVERSAL).times(arg(self, 0).part(REGEX));
                let result = Cost {
                    min: 0,
                    max: size.max,
                };
                (cost, Some(result))
            }
            "containsIP" | "containsCIDR" => {
                let address = Cost { min: 4, max: 16 };
                let mut cost = address.plus(address).part(TRAVERSAL);
                if callee.name == "containsCIDR" {
                    cost = cost.plus(address.part(TRAVERSAL)).plus(ONE);
                }
                if overload.ends_with("_string") {
                    cost = cost.plus(arg(self, 0).part(TRAVERSAL));
                }
                (cost, None)
            }
            "validate" => {
                let cost = arg(self, 0).part(TRAVERSAL).part(MAX_FORMAT_REGEX as f64 * REGEX);
                (cost, None)
            }
            _ => return None,
        })
    }

    fn equality(&self, on: &Operands<'p>) -> Option<Cost> {
        let [left, right] = on.args else { return None };
        let (left, right) = (self.ty(left), self.ty(right));
        if left != right {
            return None;
        }
        let Type::Opaque(name) = left else { return None };
        match *name {
            types::FORMAT => Some(Cost { min: 1, max: 64 }.part(TRAVERSAL)),
            types::JSON_PATCH => None,
            _ => Some(ONE),
        }
    }

    /// Type and size of a list's elements.
    fn element_size(&mut self, list: &Expr) -> Option<(&'p Type, Cost)> {
        let ty = self.ty(list).element()?;
        let mut path = self.known_path(list);
        if !path.is_empty() {
            path.push("@items".into());
        }
        Some((ty, self.bounded(&path).unwrap_or(Cost::UNKNOWN)))
    }
}

/// How long a text becomes when `from` is replaced by `to`.
fn replaced(size: Cost, from: Cost, to: Cost) -> Cost {
    let times = |a: u64, b: u64| (a as f64 / b as f64).ceil() as u64;
    let (count_max, kept_max) = if from.min == 0 {
        (size.max.saturating_add(1), size.max)
    } else if to.max <= from.min {
        (0, size.max)
    } else {
        (times(size.max, from.min), 0)
    };
    let (count_min, kept_min) = if from.max == 0 {
        (size.min.saturating_add(1), size.min)
    } else if from.max <= to.min {
        (0, size.min)
    } else {
        (times(size.min, from.max), 0)
    };
    let count = Cost {
        min: count_min,
        max: count_max,
    };
    count.times(to).plus(Cost {
        min: kept_min,
        max: kept_max,
    })
}
