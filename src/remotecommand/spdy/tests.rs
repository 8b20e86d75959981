use super::*;

#[tokio::test]
async fn frames_survive_the_way() {
    let mut encoder = Encoder::new().expect("an encoder");
    let mut out = BytesMut::new();
    let stdin: Headers = vec![("streamtype".into(), "stdin".into())];
    let error: Headers = vec![
        ("streamtype".into(), "error".into()),
        ("x".repeat(3000), "y".repeat(5000)),
    ];
    encoder.syn_stream(1, &stdin, &mut out).expect("encodes");
    encoder.syn_stream(3, &error, &mut out).expect("encodes");
    encoder.syn_reply(3, &Headers::new(), &mut out).expect("encodes");
    data(1, b"hello", false, &mut out);
    data(1, b"", true, &mut out);
    ping(7, &mut out);
    let bytes = out.freeze();
    // Whatever the pieces in which it arrives.
    for size in [1, 7, bytes.len()] {
        let mut mock = tokio_util::io::StreamReader::new(futures::stream::iter(
            bytes
                .chunks(size)
                .map(|c| Ok::<_, std::io::Error>(Bytes::copy_from_slice(c)))
                .collect::<Vec<_>>(),
        ));
        let mut decoder = Decoder::new(&mut mock);
        let mut frames = Vec::new();
        while let Some(frame) = decoder.next().await.expect("decodes") {
            frames.push(frame);
        }
        assert_eq!(
            frames,
            [
                Frame::SynStream {
                    id: 1,
                    headers: stdin.clone(),
                    fin: false
                },
                Frame::SynStream {
                    id: 3,
                    headers: error.clone(),
                    fin: false
                },
                Frame::SynReply {
                    id: 3,
                    headers: Headers::new(),
                    fin: false
                },
                Frame::Data {
                    id: 1,
                    data: Bytes::from_static(b"hello"),
                    fin: false
                },
                Frame::Data {
                    id: 1,
                    data: Bytes::new(),
                    fin: true
                },
                Frame::Ping { id: 7 },
            ]
        );
    }
}

#[tokio::test]
async fn nonsense_is_an_error() {
    let mut decoder = Decoder::new(&[0x80u8, 3, 0, 1, 0, 0, 0, 2, 1, 2][..]);
    assert!(decoder.next().await.is_err());
    let mut cut = Decoder::new(&[0u8, 0][..]);
    assert_eq!(cut.next().await.expect("an end"), None);
}
