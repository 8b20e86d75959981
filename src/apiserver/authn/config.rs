//! `apiserver.config.k8s.io AuthenticationConfiguration` (KEP-3331), and the classic OIDC flags.
//! Upstream: `k8s.io/apiserver/pkg/apis/apiserver/validation`.

mod mapping;

use http::Uri;
use rkind_apimachinery::field::{Error as FieldError, ErrorList, Path};
use serde::Deserialize;

use self::mapping::{ClaimMappings, ClaimRule, UserRule};
use super::{
    Error,
    anonymous::Anonymous,
    claims::{Mapping, Prefixed, Source},
};
use crate::{config_file::Kind, options::Oidc};

/// Providers at most.
const MOST: usize = 64;

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

const KIND: Kind = Kind {
    name: "AuthenticationConfiguration",
    group: "apiserver.config.k8s.io",
    versions: &["v1", "v1beta1", "v1alpha1"],
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    jwt: Vec<Entry>,
    anonymous: Option<AnonymousSection>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Entry {
    issuer: IssuerSection,
    claim_validation_rules: Vec<ClaimRule>,
    claim_mappings: ClaimMappings,
    user_validation_rules: Vec<UserRule>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct IssuerSection {
    url: String,
    #[serde(rename = "discoveryURL")]
    discovery_url: String,
    certificate_authority: String,
    audiences: Vec<String>,
    audience_match_policy: String,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct AnonymousSection {
    enabled: bool,
    conditions: Vec<AnonymousCondition>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct AnonymousCondition {
    path: String,
}

/// Reads a configuration.
///
/// # Errors
/// Everything that is wrong with it, by field.
pub(super) fn parse(text: &str) -> Result<Parsed, Error> {
    let file: File = KIND.read(text).map_err(Error::Config)?;
    let mut errors = ErrorList::new();
    let root = Path::new("jwt");
    if file.jwt.len() > MOST {
        errors.push(FieldError::too_many(&root, file.jwt.len(), MOST));
    }
    let mut jwt: Vec<Jwt> = Vec::new();
    for (at, entry) in file.jwt.into_iter().enumerate() {
        let path = root.index(at);
        let place = path.child("issuer");
        let known = |same: fn(&Jwt) -> &String, own: &String| jwt.iter().any(|jwt| same(jwt) == own);
        let (url, discovery) = (&entry.issuer.url, &entry.issuer.discovery_url);
        if known(|jwt| &jwt.url, url) {
            errors.push(FieldError::duplicate(&place.child("url"), url.as_str()));
        }
        if !discovery.is_empty() && known(|jwt| &jwt.discovery_url, discovery) {
            let place = place.child("discoveryURL");
            errors.push(FieldError::duplicate(&place, discovery.as_str()));
        }
        jwt.extend(issuer(entry, &path, &mut errors));
    }
    let anonymous = file.anonymous.map(|section| {
        let path = Path::new("anonymous").child("conditions");
        if !section.enabled && !section.conditions.is_empty() {
            let detail = "enabled should be set to true when conditions are defined";
            errors.push(FieldError::invalid(&path, "", detail));
        }
        let paths = section.conditions.into_iter().map(|c| c.path);
        Anonymous::at(section.enabled, paths.collect())
    });
    if errors.is_empty() {
        return Ok(Parsed { jwt, anonymous });
    }
    let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
    Err(Error::Config(match all.as_slice() {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    }))
}

fn issuer(entry: Entry, path: &Path, errors: &mut ErrorList) -> Option<Jwt> {
    let place = path.child("issuer");
    let section = entry.issuer;
    let at = place.child("url");
    if section.url.is_empty() {
        errors.push(FieldError::required(&at, ""));
    } else {
        check_url(&section.url, &at, errors);
    }
    let at = place.child("discoveryURL");
    if !section.discovery_url.is_empty() {
        if section.url.trim_end_matches('/') == section.discovery_url.trim_end_matches('/') {
            let detail = "discoveryURL must be different from URL";
            errors.push(FieldError::invalid(&at, section.discovery_url.as_str(), detail));
        }
        check_url(&section.discovery_url, &at, errors);
    }
    check_audiences(&section, &place, errors);
    let required: Vec<(String, String)> = entry
        .claim_validation_rules
        .iter()
        .filter(|rule| !rule.claim.is_empty())
        .map(|rule| (rule.claim.clone(), rule.required_value.clone()))
        .collect();
    let mapping = mapping::read(
        entry.claim_mappings,
        entry.claim_validation_rules,
        entry.user_validation_rules,
        path,
        errors,
    )?;
    Some(Jwt {
        url: section.url,
        discovery_url: section.discovery_url,
        ca: section.certificate_authority,
        audiences: section.audiences,
        required,
        mapping,
        algorithms: ALGORITHMS.map(str::to_owned).to_vec(),
    })
}

fn check_audiences(section: &IssuerSection, path: &Path, errors: &mut ErrorList) {
    let at = path.child("audiences");
    let audiences = &section.audiences;
    if audiences.is_empty() {
        let detail = format!("at least one {at} is required");
        errors.push(FieldError::required(&at, detail));
        return;
    }
    for (i, audience) in audiences.iter().enumerate() {
        if audience.is_empty() {
            errors.push(FieldError::required(&at.index(i), ""));
        }
        if audiences[..i].contains(audience) {
            errors.push(FieldError::duplicate(&at.index(i), audience.as_str()));
        }
    }
    let policy = section.audience_match_policy.as_str();
    let at = path.child("audienceMatchPolicy");
    let detail = match (audiences.len(), policy) {
        (_, "MatchAny") | (1, "") => return,
        (1, _) => "audienceMatchPolicy must be empty or MatchAny for single audience",
        _ => "audienceMatchPolicy must be MatchAny for multiple audiences",
    };
    errors.push(FieldError::invalid(&at, policy, detail));
}

/// A provider's URL.
fn check_url(url: &str, path: &Path, errors: &mut ErrorList) {
    let uri: Uri = match url.parse() {
        Ok(uri) => uri,
        Err(why) => {
            errors.push(FieldError::invalid(path, url, why.to_string()));
            return;
        }
    };
    let wrong = [
        (uri.scheme_str() != Some("https"), "URL scheme must be https"),
        (
            uri.authority().is_some_and(|a| a.as_str().contains('@')),
            "URL must not contain a username or password",
        ),
        (
            uri.query().is_some_and(|q| !q.is_empty()),
            "URL must not contain a query",
        ),
        (url.contains('#'), "URL must not contain a fragment"),
    ];
    for (_, detail) in wrong.into_iter().filter(|(wrong, _)| *wrong) {
        errors.push(FieldError::invalid(path, url, detail));
    }
}

/// The classic flags.
///
/// # Errors
/// When issuer or client is missing, or the issuer is not asked by https.
pub(super) fn classic(flags: &Oidc) -> Result<Jwt, Error> {
    if flags.oidc_issuer_url.is_empty() || flags.oidc_client_id.is_empty() {
        return Err(Error::Oidc(
            "oidc-issuer-url and oidc-client-id must be specified together when any oidc-* flags are set"
                .into(),
        ));
    }
    let mut errors = ErrorList::new();
    check_url(&flags.oidc_issuer_url, &Path::new("oidc-issuer-url"), &mut errors);
    if let Some(error) = errors.iter().next() {
        return Err(Error::Oidc(error.to_string()));
    }
    let claim = flags.oidc_username_claim.clone();
    let prefix = match flags.oidc_username_prefix.as_str() {
        "-" => String::new(),
        "" if claim == "email" => String::new(),
        "" => format!("{}#", flags.oidc_issuer_url),
        prefix => prefix.to_owned(),
    };
    let groups = (!flags.oidc_groups_claim.is_empty()).then(|| Prefixed {
        source: Source::Claim(flags.oidc_groups_claim.clone()),
        prefix: flags.oidc_groups_prefix.clone(),
    });
    Ok(Jwt {
        url: flags.oidc_issuer_url.clone(),
        discovery_url: String::new(),
        ca: flags.oidc_ca_file.as_deref().unwrap_or_default().to_owned(),
        audiences: vec![flags.oidc_client_id.clone()],
        required: flags.oidc_required_claim.clone(),
        mapping: Mapping {
            username: Prefixed {
                source: Source::Claim(claim),
                prefix,
            },
            groups,
            uid: None,
            extra: Vec::new(),
            claim_rules: Vec::new(),
            user_rules: Vec::new(),
        },
        algorithms: flags.oidc_signing_algs.clone(),
    })
}
