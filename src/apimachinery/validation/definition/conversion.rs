//! How objects get from version to version.

use serde_json::Value;

use super::super::hooks;
use super::super::support::{list, required_one_of, text};
use crate::field::{Error, ErrorList, Path};
use crate::names;

/// Review versions that this server speaks.
const REVIEWS: &[&str] = &["v1", "v1beta1"];

/// Checks `spec.conversion`; paths are those of upstream's internal form, which has no `webhook`.
pub(super) fn check(c: &Value, path: &Path, errs: &mut ErrorList) {
    if !c.is_object() {
        return;
    }
    required_one_of(
        &c["strategy"],
        &["None", "Webhook"],
        &path.child("strategy"),
        errs,
    );
    let config = &c["webhook"]["clientConfig"];
    let reviews = &c["webhook"]["conversionReviewVersions"];
    let (config_place, reviews_place) = (
        path.child("webhookClientConfig"),
        path.child("conversionReviewVersions"),
    );
    if text(c, "strategy") != "Webhook" {
        let detail = "should not be set when strategy is not set to Webhook";
        if config.is_object() {
            errs.push(Error::forbidden(&config_place, detail));
        }
        if !list(reviews).is_empty() {
            errs.push(Error::forbidden(&reviews_place, detail));
        }
        return;
    }
    if config.is_object() {
        hooks::client(config, &config_place, errs);
    } else {
        let detail = "required when strategy is set to Webhook";
        errs.push(Error::required(&config_place, detail));
    }
    review_versions(reviews, &reviews_place, errs);
}

fn review_versions(versions: &Value, path: &Path, errs: &mut ErrorList) {
    let all = list(versions);
    if all.is_empty() {
        errs.push(Error::required(path, ""));
        return;
    }
    for (i, v) in all.iter().enumerate() {
        if all[..i].contains(v) {
            errs.push(Error::invalid(&path.index(i), v.clone(), "duplicate version"));
            continue;
        }
        let v = v.as_str().unwrap_or_default();
        errs.invalid_each(&path.index(i), v, names::dns1035_label(v));
    }
    if !all.iter().any(|v| REVIEWS.iter().any(|known| v == known)) {
        let detail = format!("must include at least one of {}", REVIEWS.join(", "));
        errs.push(Error::invalid(path, versions.clone(), detail));
    }
}
