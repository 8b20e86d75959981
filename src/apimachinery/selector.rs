//! Label and field selectors.
//!
//! ```text
//! LabelSelector::parse("app=web,tier in (a,b),!old")? .matches(labels(&object))
//! LabelSelector::from_meta(&object["spec"]["selector"])?      // metav1.LabelSelector
//! FieldSelector::parse("spec.nodeName=n1,status.phase!=Failed")?
//!     .check("", "Pod")?                                      // supported labels, as upstream
//!     .matches("", "Pod", &object)
//! ```
//! Grammar and messages are those of `k8s.io/apimachinery/pkg/labels` and
//! `pkg/fields`. An error's text is the message of the 400 answer.

mod fields;
mod labels;

pub use fields::{FieldSelector, FieldTerm, field_value, supported_fields};
pub use labels::{LabelSelector, Operator, Requirement};

/// Why a selector can't be used; prints upstream's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectorError(pub String);

#[cfg(test)]
mod tests;
