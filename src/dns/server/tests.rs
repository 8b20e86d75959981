use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use hickory_proto::rr::RData;
use hickory_proto::rr::rdata::A;

use super::*;
use crate::zone::tests::{shop, zone};

/// A server in front of an upstream that knows one address for every name and
/// counts its questions; "big.test" needs more than a UDP message.
struct World {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    shutdown: CancellationToken,
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

fn upstream_answer(raw: &[u8], udp: bool) -> Vec<u8> {
    let query = Message::from_vec(raw).unwrap();
    let mut message = answer_to(&query, ResponseCode::NoError);
    let name = query.queries[0].name().clone();
    if name.to_string() == "big.test." && udp {
        message.metadata.truncation = true;
    } else if name.to_string() == "none.test." {
        message.metadata.response_code = ResponseCode::NXDomain;
    } else {
        message.add_answer(Record::from_rdata(name, 60, RData::A(A([192, 0, 2, 1].into()))));
    }
    message.to_vec().unwrap()
}

async fn world() -> World {
    let local: SocketAddr = ([127, 0, 0, 1], 0).into();
    let upstream = Sockets::open(&[local]).await.unwrap();
    let (forwarder, asked) = (
        Forwarder::to(vec![upstream.address()]),
        Arc::new(AtomicUsize::new(0)),
    );
    let (socket, listener, count) = (upstream.udp[0].clone(), upstream.tcp, asked.clone());
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        while let Ok((n, peer)) = socket.recv_from(&mut buffer).await {
            count.fetch_add(1, Ordering::SeqCst);
            let _ = socket.send_to(&upstream_answer(&buffer[..n], true), peer).await;
        }
    });
    let count = asked.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener[0].accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            let length = stream.read_u16().await.unwrap();
            let mut raw = vec![0; length.into()];
            stream.read_exact(&mut raw).await.unwrap();
            let answer = upstream_answer(&raw, false);
            stream.write_u16(answer.len() as u16).await.unwrap();
            stream.write_all(&answer).await.unwrap();
        }
    });
    let sockets = Sockets::open(&[local]).await.unwrap();
    let (address, shutdown) = (sockets.address(), CancellationToken::new());
    tokio::spawn(serve(sockets, zone(), shop(), forwarder, shutdown.clone()));
    World {
        address,
        asked,
        shutdown,
    }
}

fn question(name: &str, kind: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

impl World {
    async fn udp_raw(&self, raw: &[u8]) -> Vec<u8> {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(self.address).await.unwrap();
        socket.send(raw).await.unwrap();
        let mut buffer = vec![0; 4096];
        let count = timeout(Duration::from_secs(5), socket.recv(&mut buffer))
            .await
            .expect("an answer")
            .unwrap();
        buffer.truncate(count);
        buffer
    }

    async fn udp(&self, message: &Message) -> Message {
        let answer = Message::from_vec(&self.udp_raw(&message.to_vec().unwrap()).await).unwrap();
        assert_eq!(answer.metadata.id, message.metadata.id);
        assert_eq!(answer.queries, message.queries);
        answer
    }

    async fn tcp(&self, message: &Message) -> Message {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let raw = message.to_vec().unwrap();
        stream.write_u16(raw.len() as u16).await.unwrap();
        stream.write_all(&raw).await.unwrap();
        let length = stream.read_u16().await.unwrap();
        let mut raw = vec![0; length.into()];
        stream.read_exact(&mut raw).await.unwrap();
        Message::from_vec(&raw).unwrap()
    }
}

fn addresses(message: &Message) -> Vec<IpAddr> {
    message.answers.iter().filter_map(|r| r.data.ip_addr()).collect()
}

#[tokio::test]
async fn the_clusters_names_by_udp_and_tcp() {
    let world = world().await;
    let web = question("Web.shop.svc.cluster.local.", RecordType::A);
    for answer in [world.udp(&web).await, world.tcp(&web).await] {
        assert_eq!(addresses(&answer), [IpAddr::from([10, 96, 0, 5])]);
        assert!(answer.metadata.authoritative && answer.metadata.recursion_available);
        assert!(
            answer.answers[0].name.eq_case(web.queries[0].name()),
            "case as asked"
        );
    }
    let none = world
        .udp(&question("none.shop.svc.cluster.local.", RecordType::A))
        .await;
    assert_eq!(none.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(none.authorities[0].record_type(), RecordType::SOA);
    let empty = world
        .udp(&question("web.shop.svc.cluster.local.", RecordType::AAAA))
        .await;
    assert_eq!(
        (empty.metadata.response_code, empty.authorities.len()),
        (ResponseCode::NoError, 1)
    );
    let near = world
        .udp(&question("near.shop.svc.cluster.local.", RecordType::A))
        .await;
    assert_eq!(
        (near.answers.len(), addresses(&near).len()),
        (2, 1),
        "an alias within the cluster is followed"
    );
    assert_eq!(
        world.asked.load(Ordering::SeqCst),
        0,
        "nothing of it left the cluster"
    );
}

#[tokio::test]
async fn the_rest_of_the_world_through_the_upstream_server_and_a_cache() {
    let world = world().await;
    let example = question("example.test.", RecordType::A);
    for _ in 0..3 {
        let answer = world.udp(&example).await;
        assert_eq!(addresses(&answer), [IpAddr::from([192, 0, 2, 1])]);
    }
    assert_eq!(world.asked.load(Ordering::SeqCst), 1);
    let far = world
        .udp(&question("far.shop.svc.cluster.local.", RecordType::A))
        .await;
    assert_eq!(
        (far.answers.len(), addresses(&far)),
        (2, vec![IpAddr::from([192, 0, 2, 1])])
    );
    let none = world.udp(&question("none.test.", RecordType::A)).await;
    assert_eq!(none.metadata.response_code, ResponseCode::NXDomain);
    let big = question("big.test.", RecordType::A);
    assert!(world.udp(&big).await.metadata.truncation);
    assert_eq!(addresses(&world.tcp(&big).await).len(), 1);
}

#[tokio::test]
async fn rubbish_gets_an_error_or_nothing() {
    let world = world().await;
    let garbled = Message::from_vec(&world.udp_raw(&[7, 7, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0]).await).unwrap();
    assert_eq!(
        (garbled.metadata.id, garbled.metadata.response_code),
        (0x0707, ResponseCode::FormErr)
    );
    let mut update = question("web.shop.svc.cluster.local.", RecordType::A);
    update.metadata.op_code = OpCode::Notify;
    assert_eq!(
        world.udp(&update).await.metadata.response_code,
        ResponseCode::NotImp
    );
    let mut future = question("web.shop.svc.cluster.local.", RecordType::A);
    future.set_edns({
        let mut edns = Edns::new();
        edns.set_version(1);
        edns
    });
    let refused = u16::from(world.udp(&future).await.metadata.response_code);
    assert_eq!(refused, u16::from(ResponseCode::BADVERS));
}

#[test]
fn answers_are_cut_to_what_the_asker_takes() {
    let mut query = question("db.shop.svc.cluster.local.", RecordType::A);
    let answer = |query: &Message| {
        let mut message = answer_to(query, ResponseCode::NoError);
        for i in 0..60 {
            let name = query.queries[0].name().clone();
            message.add_answer(Record::from_rdata(name, 5, RData::A(A([10, 244, 1, i].into()))));
        }
        message
    };
    let plain = finish(&query, answer(&query), true);
    let message = Message::from_vec(&plain).unwrap();
    assert!(
        plain.len() <= 512 && message.metadata.truncation,
        "{} bytes",
        plain.len()
    );
    let whole = Message::from_vec(&finish(&query, answer(&query), false)).unwrap();
    assert_eq!(
        (
            whole.answers.len(),
            whole.metadata.truncation,
            whole.edns.is_none()
        ),
        (60, false, true)
    );
    let mut edns = Edns::new();
    edns.set_max_payload(4096);
    query.set_edns(edns);
    let roomy = Message::from_vec(&finish(&query, answer(&query), true)).unwrap();
    assert_eq!(
        (roomy.answers.len(), roomy.edns.unwrap().max_payload()),
        (60, SAFE)
    );
}
