//! First stage: what does a request ask for.

pub(crate) mod info;
pub(crate) mod media;
pub(crate) mod options;
pub(crate) mod route;

pub(crate) use info::RequestInfo;
pub(crate) use media::{Encoding, Media, Shape};
