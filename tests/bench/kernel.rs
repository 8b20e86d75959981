//! What no server can save: the kernel's own work for sending an event to many connections.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result};

const ROUNDS: u32 = 100;

/// CPU time of one thread that writes `bytes` to each of so many connections of this machine, once; neither
/// TLS nor HTTP.
pub(crate) fn fan_out(connections: usize, bytes: usize) -> Result<Duration> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let mut ends = Vec::with_capacity(connections);
    for _ in 0..connections {
        let near = TcpStream::connect(address)?;
        near.set_nodelay(true)?;
        ends.push((near, listener.accept()?.0));
    }
    let mut buffer = vec![b'x'; bytes];
    let mut spent = Duration::ZERO;
    for _ in 0..ROUNDS {
        let before = thread_cpu()?;
        for (near, _) in &mut ends {
            near.write_all(&buffer)?;
        }
        spent += thread_cpu()?.saturating_sub(before);
        for (_, far) in &mut ends {
            far.read_exact(&mut buffer)?;
        }
    }
    Ok(spent / ROUNDS)
}

/// CPU time that this thread has taken.
fn thread_cpu() -> Result<Duration> {
    let path = "/proc/thread-self/schedstat";
    let text = std::fs::read_to_string(path).with_context(|| format!("read {path}"))?;
    let nanoseconds = text.split_whitespace().next().unwrap_or_default();
    let nanoseconds = nanoseconds.parse().with_context(|| format!("{path}: {text}"))?;
    Ok(Duration::from_nanos(nanoseconds))
}
