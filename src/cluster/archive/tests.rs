use futures::TryStreamExt as _;
use serde_json::Value;

use super::*;

/// A `docker save` of two layers, the second under a link.
fn saved(layers: [&[u8]; 2]) -> File {
    let config = json!({"rootfs": {"type": "layers", "diff_ids": layers.map(digest)}}).to_string();
    let manifest =
        json!([{"Config": "c.json", "RepoTags": ["web:1"], "Layers": ["a/layer.tar", "b/layer.tar"]}]);
    let mut builder = tar::Builder::new(tempfile::tempfile().expect("a file"));
    let mut add = |name: &str, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, content).expect("append");
    };
    add("a/layer.tar", layers[0]);
    add("c/layer.tar", layers[1]);
    add("c.json", config.as_bytes());
    add("manifest.json", manifest.to_string().as_bytes());
    let mut link = tar::Header::new_gnu();
    link.set_entry_type(tar::EntryType::Symlink);
    link.set_size(0);
    builder
        .append_link(&mut link, "b/layer.tar", "../c/layer.tar")
        .expect("a link");
    let mut file = builder.into_inner().expect("the archive");
    file.seek(SeekFrom::Start(0)).expect("the start");
    file
}

async fn files(stream: ByteStream) -> BTreeMap<String, Vec<u8>> {
    let bytes = stream.try_collect::<Vec<_>>().await.expect("readable").concat();
    let mut archive = tar::Archive::new(bytes.as_slice());
    let mut files = BTreeMap::new();
    for entry in archive.entries().expect("an archive") {
        let mut entry = entry.expect("an entry");
        let mut content = Vec::new();
        entry.read_to_end(&mut content).expect("its content");
        files.insert(
            entry.path().expect("a path").to_string_lossy().into_owned(),
            content,
        );
    }
    files
}

#[tokio::test]
async fn only_missing_layers_are_written() {
    let big = vec![7; 3_000_001];
    let archive = Archive::read(saved([&big, b"small"])).expect("an archive");
    assert_eq!(
        archive.layers(),
        BTreeSet::from([digest(&big).as_str(), digest(b"small").as_str()])
    );

    let all = files(archive.without(&BTreeSet::new(), |name| format!("docker.io/library/{name}"))).await;
    assert_eq!(all[&blob(&digest(&big))], big);
    let index: Value = serde_json::from_slice(&all["index.json"]).expect("an index");
    assert_eq!(
        index["manifests"][0]["annotations"][NAME],
        "docker.io/library/web:1"
    );
    let manifest = index["manifests"][0]["digest"].as_str().expect("a digest");
    let manifest: Value = serde_json::from_slice(&all[&blob(manifest)]).expect("a manifest");
    let config = manifest["config"]["digest"].as_str().expect("a digest");
    assert_eq!(digest(&all[&blob(config)]), config);
    assert_eq!(manifest["layers"][0]["size"], 3_000_001);

    let present = BTreeSet::from([digest(&big)]);
    let rest = files(archive.without(&present, str::to_owned)).await;
    assert!(!rest.contains_key(&blob(&digest(&big))), "the node has it");
    assert_eq!(rest[&blob(&digest(b"small"))], b"small");
}

#[test]
fn what_cannot_be_taken_apart_is_left_whole() {
    let gzip = [0x1f, 0x8b, 8, 0, 0];
    assert!(
        Archive::read(saved([&gzip, b"small"])).is_none(),
        "compressed layers"
    );
    let mut text = tempfile::tempfile().expect("a file");
    std::io::Write::write_all(&mut text, b"no archive at all").expect("write");
    text.seek(SeekFrom::Start(0)).expect("the start");
    assert!(Archive::read(text).is_none());
}
