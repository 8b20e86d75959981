//! Questions about the rest of the world: passed on as they came.
//!
//! The message itself is handed over, so extensions and record types that
//! nobody here knows pass through. Answers are kept for a moment: a pod that
//! starts asks the same few names many times.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use hickory_proto::op::{Message, ResponseCode};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// How long a server may take; then the next one is asked, two rounds in all.
const PATIENCE: Duration = Duration::from_secs(2);
const ROUNDS: usize = 2;
/// At most so many answers are kept, none longer than this.
const KEPT: usize = 2048;
const LONGEST: Duration = Duration::from_secs(30);
/// "No such name" is kept this long when the answer says nothing else.
const NEGATIVE: Duration = Duration::from_secs(5);
const PORT: u16 = 53;
/// The largest UDP answer that is accepted, bytes.
const LARGEST: usize = 4096;

/// Everything of a query but its number: the question as it is written (0x20
/// randomisers compare it) and the extensions asked for.
type Key = Vec<u8>;

struct Kept {
    answer: Vec<u8>,
    until: Instant,
}

#[derive(Default)]
struct Servers {
    read: Option<SystemTime>,
    list: Vec<SocketAddr>,
}

/// Passes queries on to the servers of a `resolv.conf`.
pub(crate) struct Forwarder {
    file: PathBuf,
    own: Vec<SocketAddr>,
    servers: Mutex<Servers>,
    cache: Mutex<HashMap<Key, Kept>>,
}

fn parse(text: &str) -> Vec<IpAddr> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            (words.next() == Some("nameserver"))
                .then(|| words.next())
                .flatten()?
                .parse()
                .ok()
        })
        .collect()
}

impl Forwarder {
    pub(crate) fn new(file: PathBuf, own: Vec<SocketAddr>) -> Self {
        Self {
            file,
            own,
            servers: Mutex::default(),
            cache: Mutex::default(),
        }
    }

    /// Fixed servers, whatever the file says.
    #[cfg(test)]
    pub(crate) fn to(servers: Vec<SocketAddr>) -> Self {
        let this = Self::new(PathBuf::from("/nonexistent"), Vec::new());
        this.servers.lock().list = servers;
        this
    }

    fn servers(&self) -> Vec<SocketAddr> {
        let changed = std::fs::metadata(&self.file).and_then(|m| m.modified()).ok();
        let mut servers = self.servers.lock();
        if changed.is_some() && changed != servers.read {
            let text = std::fs::read_to_string(&self.file).unwrap_or_default();
            let all = parse(&text).into_iter().map(|ip| SocketAddr::new(ip, PORT));
            servers.list = all.filter(|a| !self.own.contains(a)).collect();
            servers.read = changed;
            tracing::info!(servers = ?servers.list, "upstream DNS servers");
        }
        servers.list.clone()
    }

    /// The answer to `query`, a whole DNS message; `None` if nobody answers.
    /// Over TCP if `stream`.
    pub(crate) async fn ask(&self, query: &[u8], stream: bool) -> Option<Vec<u8>> {
        let number = <[u8; 2]>::try_from(query.get(..2)?).ok()?;
        let key: Key = query
            .get(2..)?
            .iter()
            .copied()
            .chain([u8::from(stream)])
            .collect();
        if let Some(mut kept) = self.kept(&key) {
            kept[..2].copy_from_slice(&number);
            return Some(kept);
        }
        let mut fresh = query.to_vec();
        fresh[..2].copy_from_slice(&rand::random::<u16>().to_be_bytes());
        let servers = self.servers();
        for server in servers.iter().cycle().take(servers.len() * ROUNDS) {
            let exchange = async {
                if stream {
                    over_tcp(*server, &fresh).await
                } else {
                    over_udp(*server, &fresh).await
                }
            };
            match timeout(PATIENCE, exchange).await {
                Ok(Ok(mut answer)) => {
                    self.keep(key, &answer);
                    answer[..2].copy_from_slice(&number);
                    return Some(answer);
                }
                Ok(Err(error)) => tracing::debug!(%server, %error, "upstream DNS server failed"),
                Err(_) => tracing::debug!(%server, "upstream DNS server is silent"),
            }
        }
        None
    }

    fn kept(&self, key: &Key) -> Option<Vec<u8>> {
        let cache = self.cache.lock();
        cache
            .get(key)
            .filter(|kept| kept.until > Instant::now())
            .map(|kept| kept.answer.clone())
    }

    fn keep(&self, key: Key, answer: &[u8]) {
        let Some(time) = Message::from_vec(answer).ok().and_then(|m| time_to_keep(&m)) else {
            return;
        };
        let now = Instant::now();
        let mut cache = self.cache.lock();
        if cache.len() >= KEPT {
            cache.retain(|_, kept| kept.until > now);
            if cache.len() >= KEPT {
                cache.clear();
            }
        }
        cache.insert(
            key,
            Kept {
                answer: answer.to_vec(),
                until: now + time,
            },
        );
    }
}

fn time_to_keep(message: &Message) -> Option<Duration> {
    if message.metadata.truncation {
        return None;
    }
    let shortest = |records: &[hickory_proto::rr::Record]| records.iter().map(|r| r.ttl).min();
    match message.metadata.response_code {
        ResponseCode::NoError if !message.answers.is_empty() => {
            shortest(&message.answers).map(|s| Duration::from_secs(s.into()).min(LONGEST))
        }
        ResponseCode::NoError | ResponseCode::NXDomain => Some(
            shortest(&message.authorities).map_or(NEGATIVE, |s| Duration::from_secs(s.into()).min(NEGATIVE)),
        ),
        _ => None,
    }
}

async fn over_udp(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    // A socket of its own for each query: its random port is half of the protection
    // against forged answers.
    let any: SocketAddr = if server.is_ipv4() {
        ([0, 0, 0, 0], 0).into()
    } else {
        ([0_u16; 8], 0).into()
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(query).await?;
    let mut buffer = vec![0; LARGEST];
    loop {
        let count = socket.recv(&mut buffer).await?;
        if buffer[..count].get(..2) == Some(&query[..2]) {
            buffer.truncate(count);
            return Ok(buffer);
        }
    }
}

async fn over_tcp(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(query.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend_from_slice(query);
    stream.write_all(&framed).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await?;
    if answer.get(..2) != Some(&query[..2]) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(answer)
}

#[cfg(test)]
mod tests;
