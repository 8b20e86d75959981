//! Claims of an identity token -> a user. Upstream: `plugin/pkg/authenticator/token/oidc`.

use std::sync::Arc;

use rkind_cel::{PER_CALL_LIMIT, Program, Vars, value::Value as Outcome};
use serde_json::{Value, json};

use super::x509::CREDENTIAL_ID;
use crate::user::UserInfo;

/// A compiled expression.
#[derive(Clone, Debug)]
pub(super) struct Expression {
    pub source: String,
    pub program: Arc<Program>,
}

impl Expression {
    /// Its value for one variable.
    ///
    /// # Errors
    /// In upstream's words.
    fn eval<T>(
        &self,
        variable: &str,
        json: &Value,
        read: impl FnOnce(Outcome<'_>) -> Result<T, String>,
    ) -> Result<T, String> {
        let vars = Vars::new().json(variable, json);
        let mut budget = PER_CALL_LIMIT;
        let outcome = self.program.run(&vars, &mut budget);
        read(outcome.map_err(|e| format!("expression '{}' resulted in error: {e}", self.source))?)
    }
}

/// Where a value comes from.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// One claim.
    Claim(String),
    Expression(Expression),
}

/// A value, and what is put before it; nothing for expressions.
#[derive(Clone, Debug)]
pub(super) struct Prefixed {
    pub source: Source,
    pub prefix: String,
}

/// An expression that must be true.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub expression: Expression,
    pub message: String,
}

/// How claims become a user.
#[derive(Clone, Debug)]
pub(super) struct Mapping {
    pub username: Prefixed,
    pub groups: Option<Prefixed>,
    pub uid: Option<Source>,
    pub extra: Vec<(String, Expression)>,
    /// Of the claims, as `claims`.
    pub claim_rules: Vec<Rule>,
    /// Of the user that comes out, as `user`.
    pub user_rules: Vec<Rule>,
}

impl Mapping {
    /// The user of a token's claims.
    ///
    /// # Errors
    /// In upstream's words, when a claim is missing or of another form, or a rule does not hold.
    pub(super) fn user(&self, claims: &Value) -> Result<UserInfo, String> {
        let mut user = UserInfo {
            name: self.name(claims)?,
            groups: self.groups(claims)?,
            uid: self.uid(claims)?,
            ..Default::default()
        };
        for (key, expression) in &self.extra {
            let values = expression.eval("claims", claims, texts).map_err(|why| {
                format!(
                    "oidc: error evaluating extra claim expression: {}: {why}",
                    expression.source
                )
            })?;
            if !values.is_empty() {
                user.extra.insert(key.clone(), values);
            }
        }
        if let Some(id) = claims["jti"].as_str() {
            user.extra
                .entry(CREDENTIAL_ID.into())
                .or_insert_with(|| vec![format!("JTI={id}")]);
        }
        hold(&self.claim_rules, "claims", claims)
            .map_err(|why| format!("oidc: error evaluating claim validation expression: {why}"))?;
        if !self.user_rules.is_empty() {
            let seen =
                json!({"username": user.name, "uid": user.uid, "groups": user.groups, "extra": user.extra});
            hold(&self.user_rules, "user", &seen)
                .map_err(|why| format!("oidc: error evaluating user info validation rule: {why}"))?;
        }
        Ok(user)
    }

    fn name(&self, claims: &Value) -> Result<String, String> {
        let claim = match &self.username.source {
            Source::Claim(claim) => claim,
            Source::Expression(expression) => {
                let name = expression
                    .eval("claims", claims, text)
                    .map_err(|why| format!("oidc: error evaluating username claim expression: {why}"))?;
                let name = name.ok_or(
                    "oidc: error evaluating username claim expression: username claim expression must return a string",
                )?;
                if name.is_empty() {
                    return Err("oidc: empty username via CEL expression is not allowed".into());
                }
                return Ok(name);
            }
        };
        if claim == "email" && claims.get("email_verified").is_some_and(|v| *v != true) {
            return Err("oidc: email not verified".into());
        }
        let name = claims[claim.as_str()]
            .as_str()
            .ok_or_else(|| format!("oidc: parse username claims {claim:?}: claim not present"))?;
        Ok(format!("{}{name}", self.username.prefix))
    }

    fn groups(&self, claims: &Value) -> Result<Vec<String>, String> {
        let Some(groups) = &self.groups else {
            return Ok(Vec::new());
        };
        let claim = match &groups.source {
            Source::Claim(claim) => claim,
            Source::Expression(expression) => {
                return expression
                    .eval("claims", claims, texts)
                    .map_err(|why| format!("oidc: error evaluating group claim expression: {why}"));
            }
        };
        let found = match &claims[claim.as_str()] {
            Value::Null => Vec::new(),
            Value::String(one) => vec![one.as_str()],
            value => {
                let items = value.as_array();
                let texts = items.map(|items| items.iter().map(Value::as_str).collect());
                texts.flatten().ok_or_else(|| {
                    format!(
                        "oidc: parse groups claim {claim:?}: json: cannot unmarshal into a list of strings"
                    )
                })?
            }
        };
        Ok(found
            .into_iter()
            .map(|group| format!("{}{group}", groups.prefix))
            .collect())
    }

    fn uid(&self, claims: &Value) -> Result<String, String> {
        match &self.uid {
            None => Ok(String::new()),
            Some(Source::Claim(claim)) => {
                let uid = claims[claim.as_str()].as_str();
                uid.map(str::to_owned)
                    .ok_or_else(|| format!("oidc: parse uid claim {claim:?}: claim not present"))
            }
            Some(Source::Expression(expression)) => {
                let uid = expression.eval("claims", claims, text);
                uid.and_then(|uid| uid.ok_or("uid claim expression must return a string".into()))
                    .map_err(|why| format!("oidc: error evaluating uid claim expression: {why}"))
            }
        }
    }
}

/// Whether all rules hold.
fn hold(rules: &[Rule], variable: &str, json: &Value) -> Result<(), String> {
    for rule in rules {
        let holds = rule.expression.eval(variable, json, |outcome| match outcome {
            Outcome::Bool(holds) => Ok(holds),
            _ => Err("validation expression must return a boolean".into()),
        })?;
        if !holds {
            return Err(format!(
                "validation expression '{}' failed: {}",
                rule.expression.source, rule.message
            ));
        }
    }
    Ok(())
}

/// A text, or `None` for what is none.
fn text(outcome: Outcome<'_>) -> Result<Option<String>, String> {
    Ok(match outcome {
        Outcome::String(text) => Some(text.into_owned()),
        _ => None,
    })
}

/// A text or a list of texts; empty ones do not count.
fn texts(outcome: Outcome<'_>) -> Result<Vec<String>, String> {
    let none = || "expression must return a string or a list of strings".to_owned();
    let all = match outcome {
        Outcome::Null => Vec::new(),
        Outcome::String(one) => vec![one.into_owned()],
        Outcome::List(list) => list
            .iter()
            .map(|item| text(item)?.ok_or_else(none))
            .collect::<Result<_, _>>()?,
        _ => return Err(none()),
    };
    Ok(all.into_iter().filter(|text| !text.is_empty()).collect())
}
