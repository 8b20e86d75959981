//! Real nodes, real containers, the real kubectl.
//!
//! Needs root, a Docker engine, mmdebstrap for the
//! workload images, and the release binary in `RKIND_BIN`: `cargo xtask test`
//! sees to all of it.

mod journey;
mod refusals;
mod together;
