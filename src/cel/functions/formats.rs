//! Kubernetes' named formats: `format.dns1123Label().validate(text)`.

use rkind_apimachinery::names;

use super::{Out, no_overload};
use crate::value::Value;

/// A named format.
#[derive(Debug)]
pub struct Format {
    /// As `format.named` takes it.
    pub name: &'static str,
    check: fn(&str) -> Vec<String>,
}

static FORMATS: [Format; 13] = [
    Format {
        name: "dns1123Label",
        check: names::dns1123_label,
    },
    Format {
        name: "dns1123Subdomain",
        check: names::dns1123_subdomain,
    },
    Format {
        name: "dns1035Label",
        check: names::dns1035_label,
    },
    Format {
        name: "qualifiedName",
        check: names::qualified_name,
    },
    Format {
        name: "dns1123LabelPrefix",
        check: |s| names::dns1123_label(&prefix(s)),
    },
    Format {
        name: "dns1123SubdomainPrefix",
        check: |s| names::dns1123_subdomain(&prefix(s)),
    },
    Format {
        name: "dns1035LabelPrefix",
        check: |s| names::dns1035_label(&prefix(s)),
    },
    Format {
        name: "labelValue",
        check: names::label_value,
    },
    Format {
        name: "uri",
        check: |s| match super::urls::Url::parse(s) {
            Ok(_) => Vec::new(),
            Err(why) => vec![why],
        },
    },
    Format {
        name: "uuid",
        check: |s| known(s, is_uuid(s), "does not match the UUID format"),
    },
    Format {
        name: "byte",
        check: |s| {
            use base64::Engine as _;
            let valid = base64::engine::general_purpose::STANDARD.decode(s).is_ok();
            known(s, valid, "invalid base64")
        },
    },
    Format {
        name: "date",
        check: |s| {
            let valid = s.len() == 10 && s.parse::<jiff::civil::Date>().is_ok();
            known(s, valid, "invalid date")
        },
    },
    Format {
        name: "datetime",
        check: |s| known(s, super::time::parse_timestamp(s).is_some(), "invalid datetime"),
    },
];

/// A prefix may end in a dash, to which a random part is added.
fn prefix(s: &str) -> String {
    match s.strip_suffix('-') {
        Some(start) if !start.is_empty() => format!("{start}-a"),
        _ => s.to_owned(),
    }
}

fn known(_: &str, valid: bool, wrong: &str) -> Vec<String> {
    if valid { Vec::new() } else { vec![wrong.to_owned()] }
}

fn is_uuid(s: &str) -> bool {
    let digits: String = s.chars().filter(|c| *c != '-').collect();
    digits.len() == 32
        && digits.chars().all(|c| c.is_ascii_hexdigit())
        && (s.len() == 32
            || [8, 13, 18, 23]
                .iter()
                .all(|at| s.as_bytes().get(*at) == Some(&b'-')))
}

fn by_name<'a>(name: &str) -> Option<Value<'a>> {
    FORMATS.iter().find(|f| f.name == name).map(Value::Format)
}

pub(crate) fn call<'a>(name: &str, args: &[Value<'a>]) -> Out<'a> {
    match (name, args) {
        ("format.named", [Value::String(name)]) => Ok(Value::optional(by_name(name))),
        ("validate", [Value::Format(format), Value::String(text)]) => {
            let faults = (format.check)(text);
            let faults = faults.into_iter().map(Value::string).collect::<Vec<_>>();
            Ok(Value::optional((!faults.is_empty()).then(|| Value::list(faults))))
        }
        (name, []) => match name.strip_prefix("format.").and_then(by_name) {
            Some(format) => Ok(format),
            None => no_overload(),
        },
        _ => no_overload(),
    }
}
