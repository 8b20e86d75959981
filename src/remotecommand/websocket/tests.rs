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
        Message::Binary(vec![1].into()),
        Message::Binary(vec![1, b'o', b'u', b't'].into()),
        Message::Binary(vec![3, b'{', b'}'].into()),
    ];
    assert_eq!(got[..3], want);
    let Message::Close(Some(frame)) = &got[3] else {
        panic!("want a normal closure, got {:?}", got[3])
    };
    assert_eq!(frame.code, CloseCode::Normal);
    translator.await.expect("ends").expect("without an error");
}

/// All messages to a client of a command that says `out` and ends with a `Status` in two pieces.
async fn told(protocol: &'static str, status: [&str; 2]) -> Vec<Message> {
    let (client, server) = tokio::io::duplex(4096);
    let (near, far) = tokio::io::duplex(4096);
    let translator = tokio::spawn(async move {
        let socket = WebSocketStream::from_raw_socket(server, Role::Server, None).await;
        let options = StreamOptions {
            stdout: true,
            ..Default::default()
        };
        remote_command(socket, near, options, protocol).await
    });
    let mut client = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
    let mut runtime = Runtime::accept(far, 2).await;
    runtime.say("stdout", b"out", true).await;
    runtime.say("error", status[0].as_bytes(), false).await;
    runtime.say("error", status[1].as_bytes(), true).await;
    let mut got = Vec::new();
    while let Some(Ok(message)) = client.next().await {
        if !message.is_close() {
            got.push(message);
        }
    }
    translator.await.expect("ends").expect("without an error");
    got
}

#[tokio::test]
async fn only_new_clients_are_told_a_status() {
    let success = [r#"{"status":"#, r#""Success"}"#];
    let failure = [r#"{"status":"Failure","message":"#, r#""it failed"}"#];
    let words = ["it failed", " badly"];
    let binary = |texts: &[&str]| -> Vec<Message> {
        let messages = texts
            .iter()
            .map(|text| Message::Binary(text.as_bytes().to_vec().into()));
        messages.collect()
    };
    let text =
        |texts: &[&'static str]| -> Vec<Message> { texts.iter().map(|&t| Message::Text(t.into())).collect() };
    let cases = [
        ("channel.k8s.io", success, binary(&["\x01", "\x01out"])),
        (
            "channel.k8s.io",
            failure,
            binary(&["\x01", "\x01out", "\x03it failed"]),
        ),
        (
            "channel.k8s.io",
            words,
            binary(&["\x01", "\x01out", "\x03it failed badly"]),
        ),
        ("base64.channel.k8s.io", success, text(&["1", "1b3V0"])),
        (
            "base64.channel.k8s.io",
            failure,
            text(&["1", "1b3V0", "3aXQgZmFpbGVk"]),
        ),
        (
            "v4.channel.k8s.io",
            success,
            binary(&["\x01", "\x01out", "\x03{\"status\":", "\x03\"Success\"}"]),
        ),
    ];
    for (protocol, status, want) in cases {
        assert_eq!(told(protocol, status).await, want, "{protocol} {status:?}");
    }
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
