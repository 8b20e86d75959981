//! OpenID Connect discovery of the service-account issuer (KEP-1393).

use serde_json::{Value, json};

use super::token::Tokens;

/// The provider's configuration.
pub(crate) fn configuration(tokens: &Tokens) -> Value {
    let issuer = tokens.issuer();
    json!({
        "issuer": issuer,
        "jwks_uri": format!("{issuer}/openid/v1/jwks"),
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": tokens.verifier().algorithms(),
    })
}
