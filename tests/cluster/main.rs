//! Real nodes, real containers, the real kubectl.
//!
//! Needs a Docker engine, root or membership of its group, mmdebstrap for the
//! workload images, and the release binary in `RKIND_BIN`: `cargo xtask test`
//! sees to all of it.

mod journey;
mod refusals;
