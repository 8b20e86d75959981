//! What a container leaves as its last words.
//!
//! <https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/>

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use crate::server::logs;

#[cfg(test)]
mod tests;

/// Most bytes of a termination message.
const MAX_MESSAGE: u64 = 4096;
/// Most bytes and lines taken from a log instead.
const MAX_LOG: usize = 2048;
const MAX_LINES: usize = 80;

/// The termination message file, at most 4096 bytes of its end; empty when there is none.
pub(crate) fn message(path: &Path) -> String {
    read_tail(path, MAX_MESSAGE).unwrap_or_default()
}

/// The end of a CRI log: at most 80 lines and 2048 bytes, without the log's own marks.
pub(crate) fn log_tail(path: &Path) -> String {
    let Ok(raw) = read_tail(path, 64 * 1024) else {
        return String::new();
    };
    let mut text = Vec::new();
    for line in raw.lines().filter_map(|line| logs::parse(line.as_bytes())) {
        text.extend_from_slice(line.text);
        if !line.partial {
            text.push(b'\n');
        }
    }
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let text = lines[lines.len().saturating_sub(MAX_LINES)..].concat();
    let mut start = text.len().saturating_sub(MAX_LOG);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    text[start..].to_string()
}

fn read_tail(path: &Path, limit: u64) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(limit)))?;
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
