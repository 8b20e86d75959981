use super::*;

const LOG: &str = "2026-01-01T00:00:01.5Z stdout F one\n2026-01-01T00:00:02Z stderr P tw\n2026-01-01T00:00:02Z stderr F o\n2026-01-01T00:00:03Z stdout F three\n";

fn query(pairs: &[(&str, &str)]) -> LogOptions {
    let pairs: Vec<_> = pairs
        .iter()
        .map(|(k, v)| ((*k).to_string(), (*v).to_string()))
        .collect();
    LogOptions::parse(&pairs, Timestamp::from_second(1_767_225_604).expect("a time")).expect("options")
}

async fn read(options: LogOptions) -> String {
    let temp = tempfile::tempdir().expect("a directory");
    let path = temp.path().join("0.log");
    std::fs::write(&path, LOG).expect("a log");
    let (sender, mut receiver) = mpsc::channel(10);
    stream(path, options, sender, || {
        futures::FutureExt::boxed(async { true })
    })
    .await
    .expect("reads");
    let mut text = String::new();
    while let Some(part) = receiver.recv().await {
        text.push_str(&String::from_utf8_lossy(&part.expect("a part")));
    }
    text
}

#[tokio::test]
async fn chooses_lines() {
    assert_eq!(read(query(&[])).await, "one\ntwo\nthree\n");
    assert_eq!(read(query(&[("tailLines", "1")])).await, "three\n");
    assert_eq!(read(query(&[("tailLines", "0")])).await, "");
    assert_eq!(read(query(&[("tailLines", "99")])).await, "one\ntwo\nthree\n");
    assert_eq!(read(query(&[("limitBytes", "5")])).await, "one\nt");
    assert_eq!(read(query(&[("stream", "Stdout")])).await, "one\nthree\n");
    assert_eq!(
        read(query(&[("sinceTime", "2026-01-01T00:00:02.5Z")])).await,
        "three\n"
    );
    assert_eq!(read(query(&[("sinceSeconds", "2")])).await, "two\nthree\n");
    assert_eq!(
        read(query(&[("timestamps", "true"), ("tailLines", "1")])).await,
        "2026-01-01T00:00:03Z three\n"
    );
    assert_eq!(
        read(query(&[("follow", "true")])).await,
        "one\ntwo\nthree\n",
        "ends with the container"
    );
}

#[test]
fn refuses_nonsense() {
    let bad = [("tailLines".to_string(), "x".to_string())];
    assert!(LogOptions::parse(&bad, Timestamp::UNIX_EPOCH).is_err());
    assert_eq!(parse(b"not a log line"), None);
    assert!(parse(b"2026-01-01T00:00:01Z stdout F").is_some_and(|l| l.text.is_empty()));
}

#[tokio::test]
async fn follows_growth_and_rotation() {
    let temp = tempfile::tempdir().expect("a directory");
    let path = temp.path().join("0.log");
    std::fs::write(&path, "2026-01-01T00:00:01Z stdout F one\n").expect("a log");
    let (sender, mut receiver) = mpsc::channel(10);
    let options = LogOptions {
        follow: true,
        ..LogOptions::default()
    };
    let reader = tokio::spawn(stream(path.clone(), options, sender, || {
        futures::FutureExt::boxed(async { false })
    }));
    let mut next =
        async || String::from_utf8_lossy(&receiver.recv().await.expect("open").expect("text")).into_owned();
    assert_eq!(next().await, "one\n");
    std::fs::rename(&path, temp.path().join("old")).expect("rotates");
    std::fs::write(&path, "2026-01-01T00:00:02Z stdout F two\n").expect("a log");
    assert_eq!(next().await, "two\n");
    drop(receiver);
    reader.await.expect("ends").expect("without an error");
}
