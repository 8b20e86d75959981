use tokio_tungstenite::tungstenite::protocol::Role;

use super::*;

fn query(text: &str) -> StreamOptions {
    let pairs: Vec<_> = text
        .split('&')
        .filter_map(|p| p.split_once('='))
        .map(|(k, v)| (k.to_string(), v.to_string()))
        .collect();
    StreamOptions::parse(&pairs)
}

#[test]
fn both_spellings() {
    assert_eq!(
        query("input=1&output=1&error=1"),
        query("stdin=true&stdout=true&stderr=true")
    );
    let tty = query("input=1&output=1&error=1&tty=1");
    assert!(tty.tty && !tty.stderr);
    assert_eq!(
        tty.channels(),
        [(3, "error"), (0, "stdin"), (1, "stdout"), (4, "resize")]
    );
}

/// The runtime's side: streams by type, then what a test makes of them.
struct Runtime<S> {
    decoder: Decoder<tokio::io::ReadHalf<S>>,
    write: tokio::io::WriteHalf<S>,
    ids: HashMap<String, u32>,
}

impl<S: AsyncRead + AsyncWrite> Runtime<S> {
    async fn accept(stream: S, count: usize) -> Self {
        let (read, write) = tokio::io::split(stream);
        let mut runtime = Self {
            decoder: Decoder::new(read),
            write,
            ids: HashMap::new(),
        };
        while runtime.ids.len() < count {
            match runtime.decoder.next().await.expect("a frame") {
                Some(Frame::SynStream { id, headers, .. }) => {
                    runtime.ids.insert(headers[0].1.clone(), id);
                }
                other => panic!("want a stream, got {other:?}"),
            }
        }
        runtime
    }

    async fn say(&mut self, kind: &str, bytes: &[u8], fin: bool) {
        let mut out = BytesMut::new();
        spdy::data(self.ids[kind], bytes, fin, &mut out);
        self.write.write_all(&out).await.expect("written");
    }
}

#[tokio::test]
async fn a_command_runs_over_v5() {
    let (client, server) = tokio::io::duplex(4096);
    let (near, far) = tokio::io::duplex(4096);
    let options = StreamOptions {
        stdin: true,
        stdout: true,
        stderr: true,
        tty: false,
    };
    let translator = tokio::spawn(async move {
        let socket = WebSocketStream::from_raw_socket(server, Role::Server, None).await;
        remote_command(socket, near, options, "v5.channel.k8s.io").await
    });
    let mut client = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
    let mut runtime = Runtime::accept(far, 4).await;
    client
        .send(Message::Binary(vec![0, b'h', b'i'].into()))
        .await
        .expect("sent");
    client
        .send(Message::Binary(vec![CLOSE, 0].into()))
        .await
        .expect("sent");
    let stdin = runtime.ids["stdin"];
    let got = runtime.decoder.next().await.expect("a frame");
    assert_eq!(
        got,
        Some(Frame::Data {
            id: stdin,
            data: "hi".into(),
            fin: false
        })
    );
    let end = runtime.decoder.next().await.expect("a frame");
    assert_eq!(
        end,
        Some(Frame::Data {
            id: stdin,
            data: Default::default(),
            fin: true
        })
    );
    runtime.say("stdout", b"out", true).await;
    runtime.say("stderr", b"", true).await;
    runtime.say("error", b"{}", true).await;
    let mut got = Vec::new();
    while let Some(Ok(message)) = client.next().await {
        got.push(message);
    }
    let want = [
        Message::Binary(vec![1, b'o', b'u', b't'].into()),
        Message::Binary(vec![3, b'{', b'}'].into()),
    ];
    assert_eq!(got[..2], want);
    let Message::Close(Some(frame)) = &got[2] else {
        panic!("want a normal closure, got {:?}", got[2])
    };
    assert_eq!(frame.code, CloseCode::Normal);
    translator.await.expect("ends").expect("without an error");
}

#[tokio::test]
async fn a_tunnel_carries_bytes() {
    let (client, server) = tokio::io::duplex(4096);
    let (near, mut far) = tokio::io::duplex(4096);
    let carrier = tokio::spawn(async move {
        let socket = WebSocketStream::from_raw_socket(server, Role::Server, None).await;
        tunnel(socket, near).await
    });
    let mut client = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
    client.send(Message::Binary("ping".into())).await.expect("sent");
    let mut got = [0; 4];
    far.read_exact(&mut got).await.expect("arrives");
    assert_eq!(&got, b"ping");
    far.write_all(b"pong").await.expect("written");
    assert_eq!(
        client.next().await.expect("open").expect("a message"),
        Message::Binary("pong".into())
    );
    drop(far);
    assert!(matches!(client.next().await, Some(Ok(Message::Close(Some(_))))));
    assert!(client.next().await.is_none_or(|end| end.is_err()));
    carrier.await.expect("ends").expect("without an error");
}
