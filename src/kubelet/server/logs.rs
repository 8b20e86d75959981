//! Containers' logs: parsing the CRI log format, choosing lines, following.
//!
//! A line is `<RFC 3339 time> <stdout|stderr> <F|P> <text>`; `P` marks a piece of a longer line.

use std::io::SeekFrom;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio::fs::File;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncSeekExt, BufReader};
use tokio::sync::mpsc;

/// How often a followed log is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Which lines a reader wants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LogOptions {
    pub(crate) follow: bool,
    pub(crate) timestamps: bool,
    pub(crate) previous: bool,
    /// Last lines only.
    pub(crate) tail: Option<u64>,
    /// Bytes after which to end.
    pub(crate) limit: Option<u64>,
    pub(crate) since: Option<Timestamp>,
    /// `stdout` or `stderr`; `None`: both.
    pub(crate) stream: Option<String>,
}

impl LogOptions {
    /// From a query; the error is for the client.
    pub(crate) fn parse(query: &[(String, String)], now: Timestamp) -> Result<Self, String> {
        let mut options = Self::default();
        let flag = |value: &str| value == "true" || value == "1";
        let number = |key: &str, value: &str| {
            value
                .parse::<u64>()
                .map_err(|_| format!("invalid {key}: {value:?}"))
        };
        for (key, value) in query {
            match key.as_str() {
                "follow" => options.follow = flag(value),
                "timestamps" => options.timestamps = flag(value),
                "previous" => options.previous = flag(value),
                "tailLines" | "tail" if value != "all" => options.tail = Some(number(key, value)?),
                "limitBytes" => options.limit = Some(number(key, value)?),
                "sinceSeconds" => {
                    let seconds = i64::try_from(number(key, value)?).unwrap_or(i64::MAX / 2);
                    options.since = now.checked_sub(jiff::SignedDuration::from_secs(seconds)).ok();
                }
                "sinceTime" => {
                    options.since = Some(
                        value
                            .parse()
                            .map_err(|_| format!("invalid sinceTime: {value:?}"))?,
                    );
                }
                "stream" if value != "All" => options.stream = Some(value.to_lowercase()),
                _ => {}
            }
        }
        Ok(options)
    }
}

/// One parsed line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    pub(crate) time: &'a str,
    pub(crate) stream: &'a str,
    pub(crate) partial: bool,
    pub(crate) text: &'a [u8],
}

/// Parses a line without its end; `None` when it is not in the format.
pub(crate) fn parse(line: &[u8]) -> Option<Line<'_>> {
    let mut parts = line.splitn(4, |b| *b == b' ');
    let time = std::str::from_utf8(parts.next()?).ok()?;
    let stream = std::str::from_utf8(parts.next()?)
        .ok()
        .filter(|s| *s == "stdout" || *s == "stderr")?;
    let tags = parts.next()?;
    let text = parts.next().unwrap_or_default();
    Some(Line {
        time,
        stream,
        partial: tags.split(|b| *b == b':').next() == Some(b"P"),
        text,
    })
}

/// What a reader gets of a line, if anything.
pub(crate) fn render(line: &[u8], options: &LogOptions) -> Option<Vec<u8>> {
    let parsed = parse(line)?;
    if options.stream.as_ref().is_some_and(|s| s != parsed.stream) {
        return None;
    }
    if let Some(since) = options.since
        && parsed.time.parse::<Timestamp>().is_ok_and(|t| t < since)
    {
        return None;
    }
    let mut out = Vec::with_capacity(parsed.text.len() + 40);
    if options.timestamps {
        out.extend_from_slice(parsed.time.as_bytes());
        out.push(b' ');
    }
    out.extend_from_slice(parsed.text);
    if !parsed.partial {
        out.push(b'\n');
    }
    Some(out)
}

/// Where in a log its last `lines` lines begin: a byte offset.
pub(crate) async fn tail_offset(file: &mut File, lines: u64) -> std::io::Result<u64> {
    let size = file.metadata().await?.len();
    if lines == 0 {
        return Ok(size);
    }
    const BLOCK: u64 = 64 * 1024;
    let mut end = size;
    let mut found = 0;
    let mut block = vec![0; usize::try_from(BLOCK).unwrap_or(0)];
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        let length = usize::try_from(end - start).unwrap_or(0);
        file.seek(SeekFrom::Start(start)).await?;
        file.read_exact(&mut block[..length]).await?;
        for (i, byte) in block[..length].iter().enumerate().rev() {
            let at = start + i as u64;
            // The end of the last line does not begin another.
            if *byte == b'\n' && at + 1 < size {
                found += 1;
                if found == lines {
                    return Ok(at + 1);
                }
            }
        }
        end = start;
    }
    Ok(0)
}

/// Sends a log's lines into `out` until the end, the limit, or (following) until `ended` says that
/// the container writes no more. Ends early when nobody listens.
pub(crate) async fn stream(
    path: PathBuf,
    options: LogOptions,
    out: mpsc::Sender<std::io::Result<Bytes>>,
    ended: impl Fn() -> BoxFuture<'static, bool> + Send,
) -> std::io::Result<()> {
    let mut left = options.limit.unwrap_or(u64::MAX);
    let mut file = File::open(&path).await?;
    let start = match options.tail {
        Some(lines) => tail_offset(&mut file, lines).await?,
        None => 0,
    };
    file.seek(SeekFrom::Start(start)).await?;
    let mut identity = identity_of(&file).await?;
    let mut reader = BufReader::with_capacity(64 * 1024, file);
    let mut line = Vec::new();
    let mut batch = Vec::new();
    let mut since_check = 0u32;
    let mut was_ended = false;
    loop {
        let before = line.len();
        let read = reader.read_until(b'\n', &mut line).await?;
        if read > 0 && line.last() == Some(&b'\n') {
            line.pop();
            if let Some(text) = render(&line, &options) {
                batch.extend_from_slice(&text);
            }
            line.clear();
            if batch.len() < 32 * 1024 && !reader.buffer().is_empty() {
                continue;
            }
        }
        if !batch.is_empty() {
            let mut text = std::mem::take(&mut batch);
            text.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            left -= text.len() as u64;
            if out.send(Ok(text.into())).await.is_err() || left == 0 {
                return Ok(());
            }
        }
        if read > 0 && line.len() > before && !line.is_empty() {
            continue;
        }
        if read > 0 {
            continue;
        }
        if !options.follow {
            return Ok(());
        }
        // Nothing more for now: rotated, ended, or just quiet.
        if let Some(fresh) = reopened(&path, identity).await {
            identity = identity_of(&fresh).await?;
            reader = BufReader::with_capacity(64 * 1024, fresh);
            line.clear();
            continue;
        }
        if was_ended {
            return Ok(());
        }
        if since_check == 0 {
            // One more round after the end, so that its last lines are not missed.
            was_ended = ended().await;
        }
        since_check = (since_check + 1) % 5;
        tokio::select! {
            () = out.closed() => return Ok(()),
            () = tokio::time::sleep(if was_ended { Duration::ZERO } else { LOOK }) => {}
        }
    }
}

async fn identity_of(file: &File) -> std::io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    Ok(file.metadata().await?.ino())
}

/// The file that took the place of a rotated one.
async fn reopened(path: &Path, identity: u64) -> Option<File> {
    let file = File::open(path).await.ok()?;
    (identity_of(&file).await.ok()? != identity).then_some(file)
}

#[cfg(test)]
mod tests;
