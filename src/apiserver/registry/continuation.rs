//! The continue token of a paged list: where the next page begins, and at which version.
//! Upstream: `k8s.io/apiserver/pkg/storage/continue.go`.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as B64};
use rkind_apimachinery::codec;
use serde::{Deserialize, Serialize};

/// The only form there is.
const FORM: &str = "meta.k8s.io/v1";

/// What names the rest of a list.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Token {
    #[serde(default)]
    v: String,
    /// The version that is listed; -1 is whatever is current.
    #[serde(default)]
    pub rv: i64,
    /// The key after which the page begins.
    #[serde(default)]
    pub start: String,
}

impl Token {
    pub(super) fn new(rv: i64, start: String) -> Token {
        Token {
            v: FORM.into(),
            rv,
            start,
        }
    }

    pub(super) fn encode(&self) -> String {
        B64.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    /// Reads what a client sends back.
    ///
    /// # Errors
    /// Upstream's words for what is wrong with it.
    pub(super) fn decode(text: &str) -> Result<Token, String> {
        let invalid = |why: String| format!("continue key is not valid: {why}");
        let raw = B64.decode(text).map_err(|error| {
            invalid(format!(
                "illegal base64 data at input byte {}",
                illegal_at(&error, text)
            ))
        })?;
        let token: Token =
            serde_json::from_slice(&raw).map_err(|error| invalid(codec::json_error(&raw, &error)))?;
        if token.v != FORM {
            return Err(invalid(format!(
                "server does not recognize this encoded version {}",
                token.v
            )));
        }
        if token.rv == 0 {
            return Err(invalid(format!(
                "incorrect encoded start resourceVersion (version {FORM})"
            )));
        }
        if token.start.is_empty() {
            return Err(invalid(format!("encoded start key empty (version {FORM})")));
        }
        // A key never leaves its resource.
        if token.start.split('/').any(|part| matches!(part, "." | "..")) {
            return Err(invalid(token.start));
        }
        Ok(token)
    }
}

/// Where Go says that the text stops being base64.
fn illegal_at(error: &base64::DecodeError, text: &str) -> usize {
    match error {
        base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => *at,
        base64::DecodeError::InvalidLength(_) | base64::DecodeError::InvalidPadding => text.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_encoded_is_read() {
        let token = Token::new(7, "default/a".into());
        assert_eq!(Token::decode(&token.encode()).unwrap(), token);
    }

    #[test]
    fn what_is_wrong_with_a_token_is_said() {
        let encoded = |json: &str| B64.encode(json);
        for (text, message) in [
            (
                "abc".to_owned(),
                "continue key is not valid: invalid character 'i' looking for beginning of value",
            ),
            (
                "a*c".to_owned(),
                "continue key is not valid: illegal base64 data at input byte 1",
            ),
            (
                encoded(r#"{"v":"v9","rv":1,"start":"a"}"#),
                "continue key is not valid: server does not recognize this encoded version v9",
            ),
            (
                encoded(r#"{"v":"meta.k8s.io/v1","start":"a"}"#),
                "continue key is not valid: incorrect encoded start resourceVersion (version meta.k8s.io/v1)",
            ),
            (
                encoded(r#"{"v":"meta.k8s.io/v1","rv":1}"#),
                "continue key is not valid: encoded start key empty (version meta.k8s.io/v1)",
            ),
            (
                encoded(r#"{"v":"meta.k8s.io/v1","rv":-1,"start":"../c"}"#),
                "continue key is not valid: ../c",
            ),
        ] {
            assert_eq!(Token::decode(&text).unwrap_err(), message, "{text}");
        }
    }
}
