//! What a crash or a damaged disk leaves behind.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::{dump, open, open_with};
use crate::{
    Error, Event, Store,
    embedded::{EmbeddedStore, Options, Retention},
};
use futures::StreamExt;

/// A store with some records, its one log's bytes, and after each record: its end in the log and what
/// the store held.
struct Written {
    dir: tempfile::TempDir,
    log: PathBuf,
    bytes: Vec<u8>,
    states: Vec<(usize, Vec<String>)>,
}

/// Without zeros ahead, so that the file's size tells where a record ends.
fn bare() -> Options {
    Options {
        log_ahead: 0,
        retention: Retention::FOREVER,
        ..Options::default()
    }
}

async fn written() -> Written {
    let dir = tempfile::tempdir().expect("tempdir");
    let log = dir.path().join("log-00000000000000000001.log");
    let store = open_with(dir.path(), bare());
    let mut states = Vec::new();
    let mut remember = async || {
        states.push((
            fs::metadata(&log).expect("log").len() as usize,
            dump(&store).await,
        ))
    };
    remember().await;
    let a = store.create("a", "first value".into()).await.expect("create");
    remember().await;
    let b = store.create("b", "".into()).await.expect("create");
    remember().await;
    let a = store
        .update("a", a, "second, longer value".into())
        .await
        .expect("update");
    remember().await;
    store.delete("b", b).await.expect("delete");
    remember().await;
    store.compact(b).await.expect("compact");
    remember().await;
    store.update("a", a, "x".repeat(60).into()).await.expect("update");
    remember().await;
    drop(store);
    let bytes = fs::read(&log).expect("read");
    Written {
        dir,
        log,
        bytes,
        states,
    }
}

#[tokio::test]
async fn a_log_cut_anywhere_gives_back_all_whole_records() {
    let written = written().await;
    let header = written.states[0].0;
    for cut in (header..=written.bytes.len()).rev() {
        fs::write(&written.log, &written.bytes[..cut]).expect("write");
        let (end, expected) = written
            .states
            .iter()
            .rfind(|(end, _)| *end <= cut)
            .expect("state");
        let store = open_with(written.dir.path(), bare());
        assert_eq!(&dump(&store).await, expected, "cut at {cut}");
        assert_eq!(
            fs::metadata(&written.log).expect("log").len() as usize,
            *end,
            "cut at {cut}"
        );
        // And it goes on from there.
        if cut % 7 == 0 {
            store.create("new", "1".into()).await.expect("create");
            let now = dump(&store).await;
            drop(store);
            assert_eq!(dump(&open(written.dir.path())).await, now, "cut at {cut}");
        }
    }
}

#[tokio::test]
async fn a_damaged_last_record_is_cut_and_an_earlier_one_is_an_error() {
    let written = written().await;
    let last = written.states.len() - 2;
    for offset in written.states[0].0..written.bytes.len() {
        let mut bytes = written.bytes.clone();
        bytes[offset] ^= 0x5a;
        fs::write(&written.log, &bytes).expect("write");
        let record = written
            .states
            .iter()
            .rposition(|(end, _)| *end <= offset)
            .expect("record");
        let opened = EmbeddedStore::open(written.dir.path(), Options::default()).await;
        if record == last {
            let store = opened.expect("a torn tail is no error");
            assert_eq!(dump(&store).await, written.states[last].1, "flip at {offset}");
            continue;
        }
        match opened {
            Err(Error::Corrupt { path, offset: at, .. }) => {
                assert_eq!(
                    (path.as_path(), at as usize),
                    (&*written.log, written.states[record].0)
                );
            }
            other => panic!("flip at {offset}: expected Corrupt, got {other:?}"),
        }
        assert_eq!(
            fs::read(&written.log).expect("read"),
            bytes,
            "a refused file is left as it is"
        );
    }
}

/// What a crash leaves of a record that overwrites zeros: any of its pages, the others still zero.
#[tokio::test]
async fn a_record_torn_over_zeros_is_cut() {
    let written = written().await;
    let (end, state) = &written.states[written.states.len() - 2];
    for zeros in [1, 7, 16, 100, 4096] {
        for hole in 0..written.bytes.len() - end {
            let mut bytes = written.bytes.clone();
            bytes[*end..end + hole].fill(0);
            bytes.extend(vec![0; zeros]);
            fs::write(&written.log, &bytes).expect("write");
            let whole = bytes[..written.bytes.len()] == written.bytes;
            let expected = if whole {
                &written.states[written.states.len() - 1].1
            } else {
                state
            };
            let store = open_with(written.dir.path(), bare());
            assert_eq!(
                &dump(&store).await,
                expected,
                "{hole} bytes lost before {zeros} zeros"
            );
            if hole % 40 == 1 {
                store.create("new", "1".into()).await.expect("create");
                let now = dump(&store).await;
                drop(store);
                assert_eq!(dump(&open(written.dir.path())).await, now);
            }
        }
    }
}

#[tokio::test]
async fn zeros_are_allocated_ahead_and_survive_reopening() {
    let dir = tempfile::tempdir().expect("tempdir");
    let log = dir.path().join("log-00000000000000000001.log");
    let options = Options {
        log_ahead: 10_000,
        ..bare()
    };
    for n in 0..40 {
        let store = open_with(dir.path(), options.clone());
        store
            .create(&format!("{n:02}"), vec![b'x'; 990].into())
            .await
            .expect("create");
        assert_eq!(store.len(), n + 1);
        let size = fs::metadata(&log).expect("log").len() as usize;
        assert!(
            (n * 1000..(n + 1) * 1100 + 10_100).contains(&size),
            "{size} bytes after {n}"
        );
    }
}

#[tokio::test]
async fn garbage_behind_the_last_record_is_cut() {
    let written = written().await;
    let (end, state) = written.states.last().expect("state");
    for garbage in [
        vec![0xff; 17],
        b"RKINDLOG".repeat(9),
        written.bytes[32..].to_vec(),
    ] {
        let mut bytes = written.bytes.clone();
        bytes.extend_from_slice(&garbage);
        fs::write(&written.log, &bytes).expect("write");
        // The last case is a sound record of this very log in a place where it makes no sense.
        let opened = EmbeddedStore::open(written.dir.path(), bare()).await;
        if garbage == written.bytes[32..] {
            assert!(matches!(opened, Err(Error::Corrupt { offset, .. }) if offset as usize == *end));
            continue;
        }
        assert_eq!(&dump(&opened.expect("open")).await, state);
        assert_eq!(fs::read(&written.log).expect("read"), written.bytes);
    }
}

#[tokio::test]
async fn a_damaged_header_names_the_file() {
    let written = written().await;
    for offset in 0..32 {
        let mut bytes = written.bytes.clone();
        bytes[offset] ^= 1;
        fs::write(&written.log, &bytes).expect("write");
        match EmbeddedStore::open(written.dir.path(), Options::default()).await {
            Err(error @ Error::Corrupt { offset: 0, .. }) => {
                assert!(
                    error.to_string().starts_with(&written.log.display().to_string()),
                    "{error}"
                );
            }
            other => panic!("flip at {offset}: expected Corrupt, got {other:?}"),
        }
    }
}

fn checkpoint_in(dir: &Path) -> PathBuf {
    let found = fs::read_dir(dir)
        .expect("list")
        .map(|entry| entry.expect("entry").path());
    found
        .into_iter()
        .find(|path| path.extension().is_some_and(|e| e == "ckp"))
        .expect("a checkpoint")
}

#[tokio::test]
async fn a_damaged_checkpoint_is_an_error_and_leftovers_are_removed() {
    let dir = tempfile::tempdir().expect("tempdir");
    let options = Options {
        checkpoint_after: 256,
        ..Options::default()
    };
    let store = open_with(dir.path(), options.clone());
    for n in 0..20 {
        store
            .create(&format!("{n}"), vec![b'v'; 20].into())
            .await
            .expect("create");
    }
    let before = dump(&store).await;
    drop(store);
    fs::write(dir.path().join("checkpoint-00000000000000000099.ckp.tmp"), "half").expect("write");
    assert_eq!(dump(&open_with(dir.path(), options.clone())).await, before);
    assert!(
        !dir.path()
            .join("checkpoint-00000000000000000099.ckp.tmp")
            .exists()
    );
    let path = checkpoint_in(dir.path());
    let good = fs::read(&path).expect("read");
    for offset in 0..good.len() {
        let mut bytes = good.clone();
        bytes[offset] ^= 0x10;
        fs::write(&path, &bytes).expect("write");
        match EmbeddedStore::open(dir.path(), options.clone()).await {
            Err(Error::Corrupt { path: named, .. }) => assert_eq!(named, path),
            other => panic!("flip at {offset}: expected Corrupt, got {other:?}"),
        }
    }
    fs::write(&path, &good[..good.len() - 1]).expect("write");
    assert!(matches!(
        EmbeddedStore::open(dir.path(), options.clone()).await,
        Err(Error::Corrupt { .. })
    ));
    fs::write(&path, &good).expect("write");
    assert_eq!(dump(&open_with(dir.path(), options)).await, before);
}

#[tokio::test]
async fn a_missing_log_is_an_error() {
    let dir = tempfile::tempdir().expect("tempdir");
    let store = open(dir.path());
    store.create("a", "1".into()).await.expect("create");
    drop(store);
    let first = dir.path().join("log-00000000000000000001.log");
    fs::rename(&first, dir.path().join("log-00000000000000000007.log")).expect("rename");
    match EmbeddedStore::open(dir.path(), Options::default()).await {
        Err(Error::Corrupt { path, reason, .. }) => {
            assert!(path.ends_with("log-00000000000000000007.log"), "{path:?}");
            assert_eq!(reason, "it begins at revision 7, but what is before it ends at 1");
        }
        other => panic!("expected Corrupt, got {other:?}"),
    }
}

#[tokio::test]
async fn history_and_compaction_survive_reopening() {
    let dir = tempfile::tempdir().expect("tempdir");
    let store = open(dir.path());
    let first = store.create("a", "1".into()).await.expect("create");
    let second = store.update("a", first, "2".into()).await.expect("update");
    let third = store.delete("a", second).await.expect("delete");
    store.compact(first).await.expect("compact");
    drop(store);
    let store = open_with(
        dir.path(),
        Options {
            retention: Retention::FOREVER,
            ..Options::default()
        },
    );
    assert_eq!((store.oldest(), store.revision()), (first, third));
    assert!(matches!(
        store.watch("", first).await,
        Err(Error::Compacted { .. })
    ));
    let events = store
        .watch("", second)
        .await
        .expect("watch")
        .next()
        .await
        .expect("open")
        .expect("events");
    assert_eq!(
        events.iter().map(Event::revision).collect::<Vec<_>>(),
        [second, third]
    );
    assert_eq!(events[1].prev().map(|prev| prev.value.own()), Some(&b"2"[..]));
    assert!(
        store
            .get("a", Some(first))
            .await
            .expect("get")
            .0
            .is_some_and(|entry| entry.value.own() == b"1")
    );
}

/// Logs in a store's folder: their sizes.
fn logs(dir: &Path) -> Vec<u64> {
    let files = fs::read_dir(dir).expect("list").map(|file| file.expect("file"));
    let logs = files.filter(|file| {
        file.path()
            .extension()
            .is_some_and(|extension| extension == "log")
    });
    logs.map(|log| log.metadata().expect("metadata").len()).collect()
}

#[tokio::test]
async fn a_full_log_goes_on_in_a_spare_file() {
    const SIZE: u64 = 4096;
    let dir = tempfile::tempdir().expect("tempdir");
    let options = || Options {
        checkpoint_after: u64::MAX,
        log_size: SIZE,
        retention: Retention::FOREVER,
        ..Options::default()
    };
    let store = open_with(dir.path(), options());
    let begun = Instant::now();
    let mut written = 0;
    while logs(dir.path()).len() < 4 {
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "{:?}",
            logs(dir.path())
        );
        let value = format!("{written}").repeat(100);
        store
            .create(&format!("key{written}"), value.into())
            .await
            .expect("create");
        written += 1;
    }
    let all = dump(&store).await;
    assert_eq!(all.len(), written);
    drop(store);
    assert!(
        logs(dir.path()).iter().all(|size| *size >= SIZE),
        "{:?}",
        logs(dir.path())
    );
    assert!(!dir.path().join("spare.tmp").exists());

    // What the logs have in all makes a checkpoint due.
    let options = Options {
        checkpoint_after: 3 * SIZE,
        ..options()
    };
    let store = open_with(dir.path(), options.clone());
    assert_eq!(dump(&store).await, all);
    store.create("last", "1".into()).await.expect("create");
    let all = dump(&store).await;
    while logs(dir.path()).len() > 1 {
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "{:?}",
            logs(dir.path())
        );
        // Removing a file is nothing that one could be told of.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(store);
    assert_eq!(dump(&open_with(dir.path(), options)).await, all);
}
