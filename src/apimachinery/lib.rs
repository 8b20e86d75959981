//! The object model of Kubernetes, pure.
//!
//! In: bytes and JSON trees of objects, patches, selectors, quantities. Out: the same, decoded, checked,
//! defaulted, validated, merged, converted between JSON, YAML, protobuf and Table forms, and `Status` errors
//! worded as upstream words them. One schema table (`schema`) drives all of it, built-in kinds and custom
//! ones alike.
//!
//! It must never know: sockets, files, clocks it was not handed, stores, who asks, or which requests exist.

pub mod apply;
pub mod codec;
pub mod custom;
pub mod defaults;
pub mod field;
pub mod json;
pub mod jsonpath;
pub mod meta;
pub mod names;
pub mod openapi;
pub mod patch;
pub mod podsecurity;
pub mod protobuf;
pub mod quantity;
pub mod quota;
pub mod re2;
pub mod resources;
pub mod schema;
pub mod selector;
pub mod status;
pub mod strategy;
pub mod structural;
pub mod table;
pub mod validation;
pub mod warnings;
