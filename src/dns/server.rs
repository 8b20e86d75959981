//! Sockets, messages, and what the zone and the upstream servers make of them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, Record, RecordType};
use hickory_proto::serialize::binary::{BinEncodable as _, BinEncoder};
use rand::seq::SliceRandom as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::forward::Forwarder;
use crate::zone::{Answer, Cluster, Zone};

/// Without EDNS a UDP answer has at most so many bytes; with it, what the asker
/// can take, up to what passes every network unfragmented.
const PLAIN: u16 = 512;
const SAFE: u16 = 1232;
/// An idle TCP connection is closed after this.
const IDLE: Duration = Duration::from_secs(10);
/// Queries on their way upstream and TCP connections, at most.
const IN_FLIGHT: usize = 1024;
/// An alias may lead to an alias, so often.
const ALIASES: usize = 8;

/// Open sockets.
pub(crate) struct Sockets {
    udp: Vec<Arc<UdpSocket>>,
    tcp: Vec<TcpListener>,
}

impl Sockets {
    pub(crate) async fn open(addresses: &[SocketAddr]) -> Result<Self, Error> {
        let (mut udp, mut tcp) = (Vec::new(), Vec::new());
        for address in addresses {
            let failed = |source| Error::Listen {
                address: *address,
                source,
            };
            let socket = UdpSocket::bind(address).await.map_err(failed)?;
            // Port 0: whatever UDP got, TCP shall have too.
            let same = socket.local_addr().map_err(failed)?;
            tcp.push(TcpListener::bind(same).await.map_err(failed)?);
            udp.push(Arc::new(socket));
        }
        Ok(Self { udp, tcp })
    }

    #[cfg(test)]
    pub(crate) fn address(&self) -> SocketAddr {
        self.udp[0].local_addr().unwrap()
    }
}

struct Server<C> {
    zone: Zone,
    cluster: C,
    upstream: Forwarder,
    in_flight: Arc<Semaphore>,
}

/// What is to be done with a message.
enum Reply {
    /// Send this.
    Now(Vec<u8>),
    /// Ask upstream first.
    Later(Box<Message>, Next),
    /// It isn't a question.
    Never,
}

enum Next {
    /// The message as it is.
    Forward,
    /// An alias was found; its target is to be added.
    Follow(Vec<Record>, Name),
}

pub(crate) async fn serve<C: Cluster + 'static>(
    sockets: Sockets,
    zone: Zone,
    cluster: C,
    upstream: Forwarder,
    shutdown: CancellationToken,
) {
    let in_flight = Arc::new(Semaphore::new(IN_FLIGHT));
    let server = Arc::new(Server {
        zone,
        cluster,
        upstream,
        in_flight,
    });
    let mut tasks = JoinSet::new();
    for socket in sockets.udp {
        tasks.spawn(serve_udp(server.clone(), socket));
    }
    for listener in sockets.tcp {
        tasks.spawn(serve_tcp(server.clone(), listener));
    }
    shutdown.cancelled().await;
    tasks.shutdown().await;
}

async fn serve_udp<C: Cluster + 'static>(server: Arc<Server<C>>, socket: Arc<UdpSocket>) {
    let mut buffer = vec![0; 4096];
    loop {
        let (count, peer) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            // An earlier answer met a closed port: nothing of ours.
            Err(error) => {
                tracing::debug!(%error, "DNS socket");
                tokio::task::yield_now().await;
                continue;
            }
        };
        match server.reply(&buffer[..count], true) {
            Reply::Never => {}
            Reply::Now(answer) => drop(socket.send_to(&answer, peer).await),
            Reply::Later(query, next) => {
                // Too many on their way: the asker will try again.
                let Ok(permit) = server.in_flight.clone().try_acquire_owned() else {
                    continue;
                };
                let (server, socket, raw) = (server.clone(), socket.clone(), buffer[..count].to_vec());
                tokio::spawn(async move {
                    let answer = server.later(&raw, &query, next, true).await;
                    let _ = socket.send_to(&answer, peer).await;
                    drop(permit);
                });
            }
        }
    }
}

async fn serve_tcp<C: Cluster + 'static>(server: Arc<Server<C>>, listener: TcpListener) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors: let those that are open come to their end.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let Ok(permit) = server.in_flight.clone().try_acquire_owned() else {
            continue;
        };
        let server = server.clone();
        tokio::spawn(async move {
            let _ = server.converse(stream).await;
            drop(permit);
        });
    }
}

impl<C: Cluster> Server<C> {
    async fn converse(&self, mut stream: TcpStream) -> std::io::Result<()> {
        loop {
            let length = timeout(IDLE, stream.read_u16()).await??;
            let mut raw = vec![0; usize::from(length)];
            timeout(IDLE, stream.read_exact(&mut raw)).await??;
            let answer = match self.reply(&raw, false) {
                Reply::Never => return Ok(()),
                Reply::Now(answer) => answer,
                Reply::Later(query, next) => self.later(&raw, &query, next, false).await,
            };
            let mut framed = u16::try_from(answer.len())
                .unwrap_or(u16::MAX)
                .to_be_bytes()
                .to_vec();
            framed.extend_from_slice(&answer);
            stream.write_all(&framed).await?;
        }
    }

    fn reply(&self, raw: &[u8], udp: bool) -> Reply {
        let query = match Message::from_vec(raw) {
            Ok(query) if query.metadata.message_type == MessageType::Query => query,
            Ok(_) => return Reply::Never,
            Err(_) => {
                // The number is all that can be trusted of it.
                let Some(number) = raw.get(..2).and_then(|n| n.try_into().ok()) else {
                    return Reply::Never;
                };
                let error =
                    Message::error_msg(u16::from_be_bytes(number), OpCode::Query, ResponseCode::FormErr);
                return Reply::Now(encode(&error, PLAIN));
            }
        };
        let error = |code| Reply::Now(finish(&query, answer_to(&query, code), udp));
        if query.metadata.op_code != OpCode::Query {
            return error(ResponseCode::NotImp);
        }
        if query.edns.as_ref().is_some_and(|e| e.version() > 0) {
            return error(ResponseCode::BADVERS);
        }
        let [question] = &query.queries[..] else {
            return error(ResponseCode::FormErr);
        };
        if question.query_class() != DNSClass::IN {
            return Reply::Later(Box::new(query), Next::Forward);
        }
        let mut records = Vec::new();
        let mut name = question.name().clone();
        for _ in 0..ALIASES {
            let mut message = answer_to(&query, ResponseCode::NoError);
            message.metadata.authoritative = true;
            match self.zone.answer(&self.cluster, &name, question.query_type()) {
                Answer::Records(mut found, more) => {
                    found.shuffle(&mut rand::rng());
                    records.append(&mut found);
                    message.answers = records;
                    message.additionals = more;
                }
                Answer::Alias(record, target) => {
                    records.push(*record);
                    if question.query_type() != RecordType::CNAME {
                        name = target;
                        continue;
                    }
                    message.answers = records;
                }
                Answer::NotOurs if records.is_empty() => return Reply::Later(Box::new(query), Next::Forward),
                Answer::NotOurs => return Reply::Later(Box::new(query), Next::Follow(records, name)),
                negative => {
                    if negative == Answer::NoName {
                        message.metadata.response_code = ResponseCode::NXDomain;
                    }
                    message.answers = records;
                    message.authorities.extend(self.zone.soa());
                }
            }
            return Reply::Now(finish(&query, message, udp));
        }
        error(ResponseCode::ServFail)
    }

    async fn later(&self, raw: &[u8], query: &Message, next: Next, udp: bool) -> Vec<u8> {
        let failed = || finish(query, answer_to(query, ResponseCode::ServFail), udp);
        match next {
            Next::Forward => self.upstream.ask(raw, !udp).await.unwrap_or_else(failed),
            Next::Follow(records, target) => {
                let kind = query.queries.first().map_or(RecordType::A, Query::query_type);
                let mut question = Message::new(0, MessageType::Query, OpCode::Query);
                question.metadata.recursion_desired = true;
                question.add_query(Query::query(target, kind));
                let mut message = answer_to(query, ResponseCode::NoError);
                message.answers = records;
                let answer = match question.to_vec() {
                    Ok(bytes) => self
                        .upstream
                        .ask(&bytes, !udp)
                        .await
                        .and_then(|a| Message::from_vec(&a).ok()),
                    Err(_) => None,
                };
                let Some(answer) = answer else { return failed() };
                message.metadata.response_code = answer.metadata.response_code;
                message.answers.extend(answer.answers);
                finish(query, message, udp)
            }
        }
    }
}

/// An empty answer to `query`.
fn answer_to(query: &Message, code: ResponseCode) -> Message {
    let mut message = Message::error_msg(query.metadata.id, query.metadata.op_code, code);
    message.metadata.recursion_desired = query.metadata.recursion_desired;
    message.metadata.recursion_available = true;
    message.add_queries(query.queries.iter().cloned());
    message
}

/// Adds EDNS if the asker speaks it, and cuts to what the asker can take.
fn finish(query: &Message, mut message: Message, udp: bool) -> Vec<u8> {
    let mut limit = PLAIN;
    if let Some(asked) = &query.edns {
        limit = asked.max_payload().clamp(PLAIN, SAFE);
        let mut edns = Edns::new();
        edns.set_max_payload(SAFE).set_version(0);
        message.set_edns(edns);
    }
    encode(&message, if udp { limit } else { u16::MAX })
}

fn encode(message: &Message, limit: u16) -> Vec<u8> {
    let attempt = |message: &Message| {
        let mut bytes = Vec::with_capacity(512);
        let mut encoder = BinEncoder::new(&mut bytes);
        encoder.set_max_size(limit);
        message.emit(&mut encoder).ok().map(|()| bytes)
    };
    attempt(message)
        .or_else(|| attempt(&message.truncate()))
        .unwrap_or_else(|| {
            // Not even the question fits: say so with the header alone.
            let mut error = Message::error_msg(
                message.metadata.id,
                message.metadata.op_code,
                ResponseCode::ServFail,
            );
            error.metadata.truncation = true;
            error.to_vec().unwrap_or_default()
        })
}

#[cfg(test)]
mod tests;
