//! What the tests that cross rooms share: a way to call the `rkind` and
//! `kubectl` binaries as a user does, API servers to measure and compare,
//! images made from Debian packages, and awaiting a condition with a deadline.
//!
//! It uses public doors only. A test that needs Docker says so in its module
//! and fails with that reason where it is missing.

#[path = "support/arguments.rs"]
pub mod arguments;
#[path = "support/cli.rs"]
pub mod cli;
#[path = "support/http.rs"]
pub mod http;
#[path = "support/http1.rs"]
pub mod http1;
#[path = "support/images.rs"]
pub mod images;
#[path = "support/servers.rs"]
pub mod servers;
#[path = "support/wait.rs"]
pub mod wait;
#[path = "support/watches.rs"]
pub mod watches;
