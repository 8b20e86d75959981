//! Kill -9 at any moment loses no acknowledged write.
//!
//! A child process (this test binary, started again) opens the store, tells what it holds, and then
//! writes from several tasks, telling every acknowledged write over its standard output. The parent
//! kills it after some of them, at a random moment, and holds what the next child finds against what
//! was acknowledged.

use std::{
    collections::{BTreeMap, BTreeSet, hash_map::DefaultHasher},
    hash::{Hash as _, Hasher as _},
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use rkind_store::{
    Store as _,
    embedded::{EmbeddedStore, Options},
};

const ROUNDS: usize = 200;
const TASKS: usize = 6;
const KEYS_PER_TASK: usize = 5;
/// Tells a child where its store is; without it, the child's test passes at once.
const DIR: &str = "RKIND_STORE_CRASH_DIR";

/// What is known of one key: `None` for a deleted one.
type Hash = Option<u64>;

/// What must be there when the store opens again.
struct Acknowledged {
    /// Key -> newest revision and value that was acknowledged or found by a child.
    keys: BTreeMap<String, (u64, Hash)>,
    /// The revision that the last child which told all it found opened at.
    base: u64,
    /// Acknowledged revisions after `base`.
    told: BTreeSet<u64>,
    count: usize,
}

#[test]
fn two_hundred_kills_lose_no_acknowledged_write() {
    let dir = tempfile::tempdir().expect("tempdir");
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = SmallRng::seed_from_u64(seed);
    let begun = Instant::now();
    let mut acknowledged = Acknowledged {
        keys: BTreeMap::new(),
        base: 1,
        told: BTreeSet::new(),
        count: 0,
    };
    let mut verified = 0;
    for round in 0..ROUNDS {
        // Some die while opening, most while writing, with anything under way.
        let acks = if round % 10 == 9 {
            0
        } else {
            random.random_range(1..=60)
        };
        let delay = Duration::from_micros(random.random_range(0..3000));
        verified += usize::from(run_round(dir.path(), &mut acknowledged, acks, delay, round));
    }
    println!(
        "{ROUNDS} rounds, {verified} verified, {} writes acknowledged, {:?}",
        acknowledged.count,
        begun.elapsed()
    );
    assert!(
        verified > ROUNDS / 2,
        "only {verified} children lived long enough to verify"
    );
    assert!(acknowledged.count > ROUNDS, "too few writes to prove anything");
    let store = EmbeddedStore::open_blocking(dir.path(), Options::default()).expect("open at the end");
    assert!(store.revision() >= acknowledged.newest());
}

/// Runs one child until it is killed; whether it got as far as telling all it found.
fn run_round(
    dir: &Path,
    acknowledged: &mut Acknowledged,
    acks: usize,
    delay: Duration,
    round: usize,
) -> bool {
    let mut child = Command::new(std::env::current_exe().expect("own path"))
        .args([
            "--exact",
            "child_writes_until_killed",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .expect("start a child");
    let lines = BufReader::new(child.stdout.take().expect("pipe")).lines();
    let (mut found, mut opened_at, mut ready) = (BTreeMap::new(), 0, false);
    let mut left = acks;
    let mut killed = false;
    if acks == 0 {
        std::thread::sleep(delay);
        child.kill().expect("kill");
        killed = true;
    }
    // After the kill the loop goes on until the pipe is dry: what was told is acknowledged.
    for line in lines {
        // A line that the kill cut in the middle was not told.
        let Ok(line) = line else { break };
        let mut words = line.split(' ');
        match (
            words.next(),
            words.next(),
            words.next(),
            words.next(),
            words.next(),
        ) {
            (Some("OPEN"), Some(revision), Some("."), ..) => opened_at = revision.parse().expect("revision"),
            (Some("HAVE"), Some(key), Some(revision), Some(hash), Some(".")) => {
                let revision: u64 = revision.parse().expect("revision");
                found.insert(
                    key.to_owned(),
                    (revision, Some(hash.parse::<u64>().expect("hash"))),
                );
            }
            (Some("READY"), Some("."), ..) => {
                acknowledged.verify(opened_at, std::mem::take(&mut found), round);
                ready = true;
            }
            (Some("ACK"), Some(key), Some(revision), Some(hash), Some(".")) => {
                let revision: u64 = revision.parse().expect("revision");
                assert!(
                    revision > opened_at,
                    "round {round}: revision {revision} was given out before"
                );
                let told = (revision, (hash != "deleted").then(|| hash.parse().expect("hash")));
                let before = acknowledged.keys.insert(key.to_owned(), told);
                assert!(
                    before.is_none_or(|(before, _)| before < revision),
                    "revisions of {key} go back"
                );
                assert!(
                    acknowledged.told.insert(revision),
                    "revision {revision} was given out twice"
                );
                acknowledged.count += 1;
                left = left.saturating_sub(1);
                if left == 0 && !killed {
                    std::thread::sleep(delay);
                    child.kill().expect("kill");
                    killed = true;
                }
            }
            (Some("FAIL"), ..) => panic!("round {round}: {line}"),
            _ => {}
        }
    }
    child.wait().expect("wait");
    assert!(killed, "round {round}: the child ended by itself");
    ready
}

impl Acknowledged {
    fn newest(&self) -> u64 {
        self.told.last().copied().unwrap_or(self.base)
    }

    /// Holds what a child found against what was acknowledged; from then on the found state counts.
    fn verify(&mut self, opened_at: u64, found: BTreeMap<String, (u64, Hash)>, round: usize) {
        let newest = self.newest();
        assert!(
            opened_at >= newest,
            "round {round}: opened at {opened_at}, but {newest} was acknowledged"
        );
        // Writes that were under way at the kill may have become durable unheard.
        let unheard: BTreeSet<u64> = (self.base + 1..=opened_at)
            .filter(|r| !self.told.contains(r))
            .collect();
        let mut changed = 0;
        for key in self.keys.keys().chain(found.keys()).collect::<BTreeSet<_>>() {
            let known = self.keys.get(key).copied();
            let (revision, hash) = known.unwrap_or((0, None));
            match found.get(key) {
                Some((at, value)) if known.is_some() && *at == revision => {
                    assert_eq!(*value, hash, "round {round}: {key} at {at} has another value");
                    continue;
                }
                Some((at, _)) => assert!(
                    *at > revision && unheard.contains(at),
                    "round {round}: {key} was acknowledged at {revision} and is found at {at}"
                ),
                None if hash.is_none() => continue,
                None => assert!(
                    unheard.range(revision + 1..).next().is_some(),
                    "round {round}: {key} at {revision} is lost"
                ),
            }
            changed += 1;
        }
        assert!(
            changed <= unheard.len(),
            "round {round}: {changed} keys changed with {} writes",
            unheard.len()
        );
        self.keys = found;
        self.base = opened_at;
        self.told.clear();
    }
}

/// Not a test of its own: the process that gets killed.
#[test]
fn child_writes_until_killed() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.expect("runtime").block_on(child(&dir));
}

fn tell(line: &str) {
    // One write per line: the pipe takes it whole or not at all. The dot ends it.
    if std::io::stdout()
        .lock()
        .write_all(format!("{line} .\n").as_bytes())
        .is_err()
    {
        std::process::exit(0);
    }
}

fn hash(value: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

async fn child(dir: &Path) {
    // Small logs, so that many kills meet a checkpoint under way, or the turn to a new log.
    let options = Options {
        checkpoint_after: 96 << 10,
        log_size: 16 << 10,
        ..Options::default()
    };
    let store = match EmbeddedStore::open(dir, options).await {
        Ok(store) => Arc::new(store),
        Err(error) => return tell(&format!("FAIL {error}")),
    };
    // The harness has begun a line of its own.
    tell(&format!("\nOPEN {}", store.revision()));
    for entry in store.range("", None, 0, None).await.expect("range").entries {
        tell(&format!(
            "HAVE {} {} {}",
            entry.key,
            entry.mod_revision,
            hash(&entry.value.bytes())
        ));
    }
    tell("READY");
    let tasks = (0..TASKS).map(|task| tokio::spawn(write(store.clone(), task)));
    for task in tasks.collect::<Vec<_>>() {
        if let Err(error) = task.await {
            tell(&format!("FAIL {error}"));
        }
    }
}

async fn write(store: Arc<EmbeddedStore>, task: usize) {
    let mut random = SmallRng::from_os_rng();
    loop {
        let key = format!("/{task}/{}", random.random_range(0..KEYS_PER_TASK));
        let value: Vec<u8> = (0..random.random_range(0..3000))
            .map(|_| random.random())
            .collect();
        let told = hash(&value);
        let (current, _) = store.get(&key, None).await.expect("get");
        let result = match current {
            None => store
                .create(&key, value.into())
                .await
                .map(|revision| (revision, told.to_string())),
            Some(entry) if random.random_ratio(1, 5) => {
                let deleted = store.delete(&key, entry.mod_revision).await;
                deleted.map(|revision| (revision, "deleted".to_owned()))
            }
            Some(entry) => {
                let updated = store.update(&key, entry.mod_revision, value.into()).await;
                updated.map(|revision| (revision, told.to_string()))
            }
        };
        match result {
            Ok((revision, told)) => tell(&format!("ACK {key} {revision} {told}")),
            Err(error) => return tell(&format!("FAIL {key}: {error}")),
        }
    }
}
