//! `apiserver.config.k8s.io AuthenticationConfiguration` (KEP-3331), and the classic OIDC flags.

use serde_json::Value;

use super::{
    Error,
    anonymous::Anonymous,
    claims::{Mapping, Prefixed, Source},
};
use crate::{machinery, options::Oidc};

/// One JWT issuer, checked.
#[derive(Clone, Debug)]
pub(super) struct Jwt {
    pub url: String,
    /// Where the provider's configuration lies; empty: below `url`.
    pub discovery_url: String,
    /// PEM; empty: the system's authorities.
    pub ca: String,
    pub audiences: Vec<String>,
    /// Claims that must be there with these values.
    pub required: Vec<(String, String)>,
    pub mapping: Mapping,
    /// Signing algorithms believed.
    pub algorithms: Vec<String>,
}

/// A configuration, checked.
pub(super) struct Parsed {
    pub jwt: Vec<Jwt>,
    pub anonymous: Option<Anonymous>,
}

/// Every asymmetric algorithm that upstream believes by default and ring can check.
const ALGORITHMS: [&str; 8] = [
    "RS256", "RS384", "RS512", "ES256", "ES384", "PS256", "PS384", "PS512",
];

/// Reads a configuration.
///
/// # Errors
/// What is wrong with it, by field.
pub(super) fn parse(text: &str) -> Result<Parsed, Error> {
    let config = machinery::yaml(text).map_err(Error::Config)?;
    let versions = [
        "apiserver.config.k8s.io/v1",
        "apiserver.config.k8s.io/v1beta1",
        "apiserver.config.k8s.io/v1alpha1",
    ];
    if config["kind"] != "AuthenticationConfiguration" || !versions.iter().any(|v| config["apiVersion"] == *v)
    {
        return Err(Error::Config(format!(
            "expected kind AuthenticationConfiguration of {}",
            versions.join(", ")
        )));
    }
    let mut jwt = Vec::new();
    for (at, entry) in config["jwt"].as_array().into_iter().flatten().enumerate() {
        let parsed = issuer(entry).map_err(|why| Error::Config(format!("jwt[{at}].{why}")))?;
        if jwt.iter().any(|known: &Jwt| known.url == parsed.url) {
            return Err(Error::Config(format!(
                "jwt[{at}].issuer.url: Duplicate value: {:?}",
                parsed.url
            )));
        }
        jwt.push(parsed);
    }
    let section = &config["anonymous"];
    let anonymous = section.is_object().then(|| {
        let conditions = section["conditions"].as_array().into_iter().flatten();
        let paths = conditions.filter_map(|c| c["path"].as_str());
        Anonymous::at(section["enabled"] == true, paths.map(str::to_owned).collect())
    });
    Ok(Parsed { jwt, anonymous })
}

fn texts(value: &Value) -> Vec<String> {
    let items = value.as_array().into_iter().flatten();
    items.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn issuer(entry: &Value) -> Result<Jwt, String> {
    let issuer = &entry["issuer"];
    let url = text(&issuer["url"]);
    if url.is_empty() {
        return Err("issuer.url: Required value: URL is required".into());
    }
    if !url.starts_with("https://") {
        return Err(format!(
            "issuer.url: Invalid value: {url:?}: URL scheme must be https"
        ));
    }
    let audiences = texts(&issuer["audiences"]);
    if audiences.is_empty() {
        return Err("issuer.audiences: Required value: at least one issuer.audiences is required".into());
    }
    if audiences.len() > 1 && issuer["audienceMatchPolicy"] != "MatchAny" {
        return Err(
            "issuer.audienceMatchPolicy: Invalid value: \"\": audienceMatchPolicy must be MatchAny for multiple audiences"
                .into(),
        );
    }
    if entry["claimValidationRules"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|rule| rule["expression"].is_string())
        || entry["userValidationRules"]
            .as_array()
            .is_some_and(|r| !r.is_empty())
    {
        return Err("claimValidationRules: Forbidden: CEL expressions are not supported here".into());
    }
    let required = entry["claimValidationRules"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|rule| (text(&rule["claim"]), text(&rule["requiredValue"])))
        .collect();
    let mappings = &entry["claimMappings"];
    let username = prefixed(&mappings["username"]).map_err(|why| format!("claimMappings.username{why}"))?;
    let Some(username) = username else {
        return Err("claimMappings.username: Required value: claim or expression is required".into());
    };
    if username.prefix.is_none() {
        return Err(
            "claimMappings.username.prefix: Required value: prefix is required when claim is set. It can be set to an empty string to disable prefixing"
                .into(),
        );
    }
    let groups = prefixed(&mappings["groups"]).map_err(|why| format!("claimMappings.groups{why}"))?;
    let uid = source(&mappings["uid"]).map_err(|why| format!("claimMappings.uid{why}"))?;
    let mut extra = Vec::new();
    for entry in mappings["extra"].as_array().into_iter().flatten() {
        let expression = text(&entry["valueExpression"]);
        let source = Source::expression(&expression).ok_or_else(|| {
            format!("claimMappings.extra: Invalid value: {expression:?}: only claims.NAME is supported")
        })?;
        extra.push((text(&entry["key"]), source));
    }
    Ok(Jwt {
        url,
        discovery_url: text(&issuer["discoveryURL"]),
        ca: text(&issuer["certificateAuthority"]),
        audiences,
        required,
        mapping: Mapping {
            username,
            groups,
            uid,
            extra,
        },
        algorithms: ALGORITHMS.iter().map(|a| (*a).to_owned()).collect(),
    })
}

/// `{claim}` or `{expression}`; `None` when neither is set.
fn source(value: &Value) -> Result<Option<Source>, String> {
    match (value["claim"].as_str(), value["expression"].as_str()) {
        (Some(_), Some(_)) => Err(": Invalid value: \"\": claim and expression can't both be set".into()),
        (Some(claim), None) if !claim.is_empty() => Ok(Some(Source::Claim(claim.to_owned()))),
        (None, Some(expression)) if !expression.is_empty() => {
            Source::expression(expression).map(Some).ok_or_else(|| {
                format!(".expression: Invalid value: {expression:?}: only claims.NAME is supported")
            })
        }
        _ => Ok(None),
    }
}

fn prefixed(value: &Value) -> Result<Option<Prefixed>, String> {
    let by_expression = value["expression"].is_string();
    Ok(source(value)?.map(|source| Prefixed {
        source,
        prefix: match value["prefix"].as_str() {
            Some(prefix) => Some(prefix.to_owned()),
            None => by_expression.then(String::new),
        },
    }))
}

/// The classic flags.
pub(super) fn classic(flags: &Oidc) -> Jwt {
    let or = |text: &str, default: &str| {
        if text.is_empty() {
            default.to_owned()
        } else {
            text.to_owned()
        }
    };
    let claim = or(&flags.username_claim, "sub");
    let prefix = match flags.username_prefix.as_str() {
        "-" => String::new(),
        "" if claim == "email" => String::new(),
        "" => format!("{}#", flags.issuer_url),
        prefix => prefix.to_owned(),
    };
    let groups = (!flags.groups_claim.is_empty()).then(|| Prefixed {
        source: Source::Claim(flags.groups_claim.clone()),
        prefix: Some(flags.groups_prefix.clone()),
    });
    let algorithms = if flags.signing_algs.is_empty() {
        vec!["RS256".to_owned()]
    } else {
        flags.signing_algs.clone()
    };
    Jwt {
        url: flags.issuer_url.clone(),
        discovery_url: String::new(),
        ca: flags.ca.clone(),
        audiences: vec![flags.client_id.clone()],
        required: flags.required_claims.clone(),
        mapping: Mapping {
            username: Prefixed {
                source: Source::Claim(claim),
                prefix: Some(prefix),
            },
            groups,
            uid: None,
            extra: Vec::new(),
        },
        algorithms,
    }
}
