//! OpenID Connect discovery of the service-account issuer (KEP-1393).

use serde_json::{Value, json};

use super::token::Tokens;

/// The provider's configuration; `keys` is the URL of its keys.
pub(crate) fn configuration(tokens: &Tokens, keys: &str) -> Value {
    json!({
        "issuer": tokens.issuer(),
        "jwks_uri": keys,
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": tokens.verifier().algorithms(),
    })
}
