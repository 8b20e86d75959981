//! Events as JSON lines in a file that is rotated. Upstream: `audit-log-*`, by lumberjack's rules:
//! `audit.log` becomes `audit-2006-01-02T15-04-05.000.log`.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use crate::options::Audit;

const MEGABYTE: u64 = 1024 * 1024;
/// Events that may wait for the disk.
const WAITING: usize = 10_000;
/// What the names of packed logs end with.
const PACKED: &str = ".gz";
const STAMP: &str = "%Y-%m-%dT%H-%M-%S";

/// What the thread that writes is told.
enum Order {
    Line(Vec<u8>),
    /// All before is written when this is dropped.
    Flush(#[allow(dead_code, reason = "told by its drop")] oneshot::Sender<()>),
}

/// A log; a thread of its own writes it, in order.
pub(super) struct Log {
    orders: mpsc::Sender<Order>,
}

impl Log {
    /// Opens the file, or standard output for `-`.
    ///
    /// # Errors
    /// When it cannot be written to.
    pub(super) fn open(path: &Path, options: &Audit) -> io::Result<Log> {
        if path == Path::new("-") {
            // There is nowhere to complain that standard output is closed.
            return Ok(Self::over(|line| drop(io::stdout().write_all(line))));
        }
        let mut rotated = Rotated::open(path, options)?;
        Ok(Self::over(move |line| {
            if let Err(error) = rotated.write(line) {
                tracing::error!(%error, "audit event cannot be written");
            }
        }))
    }

    pub(super) fn over(mut write: impl FnMut(&[u8]) + Send + 'static) -> Log {
        let (orders, mut waiting) = mpsc::channel(WAITING);
        std::thread::spawn(move || {
            while let Some(order) = waiting.blocking_recv() {
                if let Order::Line(line) = order {
                    write(&line);
                }
            }
        });
        Log { orders }
    }

    /// Waits while the disk is far behind, so that [`Log::write`] finds room.
    pub(super) async fn room(&self) {
        if self.orders.capacity() < WAITING / 2 {
            // Closed, there is nothing to wait for.
            let _ = self.orders.reserve_many(WAITING / 2).await;
        }
    }

    /// Queues one event.
    pub(super) fn write(&self, event: &Value) {
        let mut line = serde_json::to_vec(event).unwrap_or_default();
        line.push(b'\n');
        if self.orders.try_send(Order::Line(line)).is_err() {
            tracing::error!("audit log is behind, an event is dropped");
        }
    }

    /// Waits until everything queued is written.
    pub(super) async fn flush(&self) {
        let (done, written) = oneshot::channel();
        if self.orders.send(Order::Flush(done)).await.is_ok() {
            let _ = written.await;
        }
    }
}

/// A file that is set aside when it grows too large.
pub(super) struct Rotated {
    path: PathBuf,
    file: File,
    size: u64,
    limit: u64,
    days: u32,
    backups: u32,
    /// Logs that are set aside are packed.
    pack: bool,
}

impl Rotated {
    pub(super) fn open(path: &Path, options: &Audit) -> io::Result<Rotated> {
        if let Some(dir) = path.parent().filter(|d| !d.as_os_str().is_empty()) {
            std::fs::create_dir_all(dir)?;
        }
        let (file, size) = append(path)?;
        let megabytes = match options.audit_log_maxsize {
            0 => 100,
            size => size,
        };
        Ok(Rotated {
            path: path.to_owned(),
            file,
            size,
            limit: u64::from(megabytes) * MEGABYTE,
            days: options.audit_log_maxage,
            backups: options.audit_log_maxbackup,
            pack: options.audit_log_compress,
        })
    }

    #[cfg(test)]
    pub(super) fn limited(mut self, bytes: u64) -> Rotated {
        self.limit = bytes;
        self
    }

    pub(super) fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let length = line.len() as u64;
        if self.size > 0 && self.size + length > self.limit {
            self.rotate()?;
        }
        self.file.write_all(line)?;
        self.size += length;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let (stem, ending) = self.names();
        let now = Timestamp::now();
        let millis = now.subsec_millisecond();
        let mut aside = self
            .path
            .with_file_name(format!("{stem}-{}.{millis:03}{ending}", now.strftime(STAMP)));
        let mut again = 0;
        while aside.exists() {
            again += 1;
            aside = self.path.with_file_name(format!(
                "{stem}-{}.{millis:03}-{again}{ending}",
                now.strftime(STAMP)
            ));
        }
        std::fs::rename(&self.path, &aside)?;
        (self.file, self.size) = append(&self.path)?;
        if self.pack {
            pack(&aside)?;
        }
        self.clean()
    }

    fn names(&self) -> (String, String) {
        let text = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
        let ending = self
            .path
            .extension()
            .map_or_else(String::new, |e| format!(".{}", e.to_string_lossy()));
        (text(self.path.file_stem()), ending)
    }

    /// Removes what is too old or too many.
    fn clean(&self) -> io::Result<()> {
        if self.days == 0 && self.backups == 0 {
            return Ok(());
        }
        let (stem, ending) = self.names();
        let dir = self.path.parent().filter(|d| !d.as_os_str().is_empty());
        let mut old: Vec<(String, PathBuf)> = Vec::new();
        for entry in std::fs::read_dir(dir.unwrap_or(Path::new(".")))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let stamp = name
                .strip_prefix(&format!("{stem}-"))
                .map(|rest| rest.strip_suffix(PACKED).unwrap_or(rest))
                .and_then(|rest| rest.strip_suffix(ending.as_str()));
            if let Some(stamp) = stamp {
                old.push((stamp.to_owned(), entry.path()));
            }
        }
        // Newest first: stamps sort as times do.
        old.sort_by(|a, b| b.0.cmp(&a.0));
        let oldest = Timestamp::now() - SignedDuration::from_hours(24 * i64::from(self.days));
        let oldest = oldest.strftime(STAMP).to_string();
        for (number, (stamp, path)) in old.iter().enumerate() {
            let many = self.backups > 0 && number >= self.backups as usize;
            let aged = self.days > 0 && *stamp < oldest;
            if many || aged {
                std::fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

/// `audit-….log` becomes `audit-….log.gz`.
fn pack(path: &Path) -> io::Result<()> {
    let mut packed = path.as_os_str().to_owned();
    packed.push(PACKED);
    let (into, _) = append(Path::new(&packed))?;
    let mut into = flate2::write::GzEncoder::new(into, flate2::Compression::default());
    io::copy(&mut File::open(path)?, &mut into)?;
    into.finish()?;
    std::fs::remove_file(path)
}

fn append(path: &Path) -> io::Result<(File, u64)> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)?;
    let size = file.metadata()?.len();
    Ok((file, size))
}
