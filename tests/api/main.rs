//! The API server alone, asked by real clients: no Docker, no root.
//!
//! `cargo xtask test --api` builds the clients and the binary under test and names them in
//! `RKIND_BIN`, `KUBECTL_BIN`, `API_GO_CLIENT` and `API_PYTHON`; where one is missing, the tests
//! that need it say so.

mod admission;
mod auth;
mod behaviours;
mod clients;
mod crowds;
mod endpoints;
mod flags;
mod golden;
mod hostile;
mod kubectl;
mod kubectl_custom;
mod lists;
mod namespaces;
mod objects;
mod server;
mod streams;
mod tls;

mod validation;
mod watches;
