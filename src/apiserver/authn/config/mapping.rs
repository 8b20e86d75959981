//! How claims become a user, as a configuration says it.

use std::sync::{Arc, LazyLock};

use rkind_apimachinery::{
    field::{Error, ErrorList, Path},
    names,
};
use rkind_cel::{Env, Program, Type, auth};
use serde::Deserialize;

use super::super::claims::{Expression, Mapping, Prefixed, Rule, Source};

static CLAIMS: LazyLock<Env> = LazyLock::new(auth::claims);
static USER: LazyLock<Env> = LazyLock::new(auth::user);

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct ClaimRule {
    pub claim: String,
    pub required_value: String,
    expression: String,
    message: String,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct UserRule {
    expression: String,
    message: String,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ClaimMappings {
    username: ClaimOrExpression,
    groups: ClaimOrExpression,
    uid: ClaimOrExpression,
    extra: Vec<ExtraMapping>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct ClaimOrExpression {
    claim: String,
    prefix: Option<String>,
    expression: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct ExtraMapping {
    key: String,
    value_expression: String,
}

/// Reads one issuer's mappings and rules; `None` without a username.
pub(super) fn read(
    mappings: ClaimMappings,
    claim_rules: Vec<ClaimRule>,
    user_rules: Vec<UserRule>,
    path: &Path,
    errors: &mut ErrorList,
) -> Option<Mapping> {
    let claim_rules = check_claims(claim_rules, &path.child("claimValidationRules"), errors);
    let place = path.child("claimMappings");
    let username = prefixed(mappings.username, true, &place.child("username"), errors);
    let groups = prefixed(mappings.groups, false, &place.child("groups"), errors);
    let uid = uid(mappings.uid, &place.child("uid"), errors);
    let extra = extra(mappings.extra, &place.child("extra"), errors);

    let reads = |expression: &Expression, claim: &str| {
        let fields = expression.program.fields_of("claims");
        fields.is_some_and(|fields| fields.contains(claim))
    };
    if let Some(Prefixed {
        source: Source::Expression(name),
        ..
    }) = &username
    {
        let verified = [name]
            .into_iter()
            .chain(extra.iter().map(|(_, expression)| expression))
            .chain(claim_rules.iter().map(|rule| &rule.expression))
            .any(|expression| reads(expression, "email_verified"));
        if reads(name, "email") && !verified {
            let detail = "claims.email_verified must be used in claimMappings.username.expression or claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when claims.email is used in claimMappings.username.expression";
            let at = place.child("username").child("expression");
            errors.push(Error::invalid(&at, name.source.as_str(), detail));
        }
    }
    let user_rules = check_users(user_rules, &path.child("userValidationRules"), errors);
    Some(Mapping {
        username: username?,
        groups,
        uid,
        extra,
        claim_rules,
        user_rules,
    })
}

fn compile(env: &Env, source: String, rule: bool, path: &Path, errors: &mut ErrorList) -> Option<Expression> {
    match Program::compile(env, &source) {
        Err(why) => {
            let detail = format!("compilation failed: {why}");
            errors.push(Error::invalid(path, source, detail));
            None
        }
        Ok(program) if rule && *program.output() != Type::Bool => {
            errors.push(Error::invalid(path, source, "must evaluate to bool"));
            None
        }
        Ok(program) => Some(Expression {
            source,
            program: Arc::new(program),
        }),
    }
}

fn check_claims(rules: Vec<ClaimRule>, path: &Path, errors: &mut ErrorList) -> Vec<Rule> {
    let (mut claims, mut sources): (Vec<String>, Vec<String>) = Default::default();
    let mut compiled = Vec::new();
    for (i, rule) in rules.into_iter().enumerate() {
        let path = path.index(i);
        match (rule.claim.as_str(), rule.expression.as_str()) {
            ("", "") => errors.push(Error::required(&path, "claim or expression is required")),
            (claim, "") => {
                if !rule.message.is_empty() {
                    let detail = "may not be specified when claim is set";
                    errors.push(Error::invalid(&path.child("message"), rule.message, detail));
                }
                if claims.iter().any(|known| known == claim) {
                    errors.push(Error::duplicate(&path.child("claim"), claim));
                }
                claims.push(claim.to_owned());
            }
            ("", source) => {
                if !rule.required_value.is_empty() {
                    let detail = "may not be specified when expression is set";
                    let at = path.child("requiredValue");
                    errors.push(Error::invalid(&at, rule.required_value, detail));
                }
                let at = path.child("expression");
                if sources.iter().any(|known| known == source) {
                    errors.push(Error::duplicate(&at, source));
                    continue;
                }
                sources.push(source.to_owned());
                let message = rule.message;
                let expression = compile(&CLAIMS, rule.expression, true, &at, errors);
                compiled.extend(expression.map(|expression| Rule { expression, message }));
            }
            (claim, _) => {
                let detail = "claim and expression can't both be set";
                errors.push(Error::invalid(&path, claim, detail));
            }
        }
    }
    compiled
}

fn check_users(rules: Vec<UserRule>, path: &Path, errors: &mut ErrorList) -> Vec<Rule> {
    let mut sources: Vec<String> = Vec::new();
    let mut compiled = Vec::new();
    for (i, rule) in rules.into_iter().enumerate() {
        let at = path.index(i).child("expression");
        if rule.expression.is_empty() {
            errors.push(Error::required(&at, ""));
        } else if sources.contains(&rule.expression) {
            errors.push(Error::duplicate(&at, rule.expression));
        } else {
            sources.push(rule.expression.clone());
            let message = rule.message;
            let expression = compile(&USER, rule.expression, true, &at, errors);
            compiled.extend(expression.map(|expression| Rule { expression, message }));
        }
    }
    compiled
}

fn prefixed(from: ClaimOrExpression, must: bool, path: &Path, errors: &mut ErrorList) -> Option<Prefixed> {
    match (from.claim.is_empty(), from.expression.is_empty()) {
        (false, false) => {
            let detail = "claim and expression can't both be set";
            errors.push(Error::invalid(path, "", detail));
        }
        (true, true) if must => {
            errors.push(Error::required(path, "claim or expression is required"));
        }
        (true, true) => {}
        (true, false) => {
            if let Some(prefix) = from.prefix {
                let detail = "may not be specified when expression is set";
                errors.push(Error::invalid(&path.child("prefix"), prefix, detail));
            }
            let at = path.child("expression");
            let source = compile(&CLAIMS, from.expression, false, &at, errors)?;
            return Some(Prefixed {
                source: Source::Expression(source),
                prefix: String::new(),
            });
        }
        (false, true) => {
            if from.prefix.is_none() {
                let detail = "prefix is required when claim is set. It can be set to an empty string to disable prefixing";
                errors.push(Error::required(&path.child("prefix"), detail));
            }
            return Some(Prefixed {
                source: Source::Claim(from.claim),
                prefix: from.prefix.unwrap_or_default(),
            });
        }
    }
    None
}

fn uid(from: ClaimOrExpression, path: &Path, errors: &mut ErrorList) -> Option<Source> {
    match (from.claim.is_empty(), from.expression.is_empty()) {
        (false, false) => {
            let detail = "claim and expression can't both be set";
            errors.push(Error::invalid(path, "", detail));
            None
        }
        (true, true) => None,
        (false, true) => Some(Source::Claim(from.claim)),
        (true, false) => {
            let at = path.child("expression");
            compile(&CLAIMS, from.expression, false, &at, errors).map(Source::Expression)
        }
    }
}

fn extra(list: Vec<ExtraMapping>, path: &Path, errors: &mut ErrorList) -> Vec<(String, Expression)> {
    let mut seen: Vec<String> = Vec::new();
    let mut compiled = Vec::new();
    for (i, mapping) in list.into_iter().enumerate() {
        let path = path.index(i);
        let at = path.child("key");
        let key = mapping.key;
        check_key(&key, &at, errors);
        if seen.contains(&key) {
            errors.push(Error::duplicate(&at, key));
            continue;
        }
        seen.push(key.clone());
        let at = path.child("valueExpression");
        if mapping.value_expression.is_empty() {
            errors.push(Error::required(&at, ""));
            continue;
        }
        let expression = compile(&CLAIMS, mapping.value_expression, false, &at, errors);
        compiled.extend(expression.map(|expression| (key, expression)));
    }
    compiled
}

/// A key of `extra`: a path with somebody's domain before it.
fn check_key(key: &str, path: &Path, errors: &mut ErrorList) {
    match key.split_once('/') {
        _ if key.is_empty() => errors.push(Error::required(path, "")),
        Some((domain, rest)) if !domain.is_empty() && !rest.is_empty() => {
            errors.invalid_each(path, domain, names::dns1123_subdomain(domain));
        }
        _ => {
            let detail = "must be a domain-prefixed path (such as \"acme.io/foo\")";
            errors.push(Error::invalid(path, key, detail));
        }
    }
    if key != key.to_lowercase() {
        errors.push(Error::invalid(path, key, "must be lowercase"));
    }
    let domain = key.split_once('/').map_or("", |(domain, _)| domain);
    let ours = |name: &str| domain == name || domain.ends_with(&format!(".{name}"));
    if ours("kubernetes.io") || ours("k8s.io") {
        let detail = "k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use";
        errors.push(Error::invalid(path, key, detail));
    }
}
