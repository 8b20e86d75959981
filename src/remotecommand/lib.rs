//! The wire of exec, attach and port-forward.
//!
//! **For:** whoever stands between a client that speaks WebSocket and a server that speaks SPDY/3.1: the API
//! server before a kubelet (KEP-4006), the kubelet before the container runtime.
//!
//! **Comes in:** two connections that are upgraded already, and which streams are asked for. **Goes out:**
//! bytes, from each to the other in the form that it speaks.
//!
//! **Must never know:** HTTP, who may do what, pods and nodes.

mod spdy;
mod websocket;

pub use spdy::SpdyError;
pub use websocket::{PROTOCOLS, StreamOptions, remote_command, tunnel};
