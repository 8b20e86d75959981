//! Log records: encoding, and reading a log file back. The format is documented at
//! [`super`]'s head.

use std::{fs::File, io, os::unix::fs::FileExt as _, path::Path, sync::Arc};

use bytes::Bytes;

use super::{
    MAX_KEY, MAX_VALUE,
    disk::{Disk, Kind, Spare},
};
use crate::{Error, Result, Revision};

const MAGIC: &[u8; 8] = b"RKINDLOG";
const VERSION: u32 = 1;
/// Bytes of a log file's header.
pub(super) const FILE_HEADER: usize = 32;
/// Bytes of a record's header.
pub(super) const RECORD_HEADER: usize = 16;

const PUT: u8 = 1;
const DELETE: u8 = 2;
const COMPACT: u8 = 3;

/// One change as it stands in a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mutation {
    Put { key: Arc<str>, value: Bytes },
    Delete { key: Arc<str> },
    Compact { revision: Revision },
}

/// Builds one record.
pub(super) struct Record {
    /// Header (filled in at the end) and payload.
    bytes: Vec<u8>,
}

impl Record {
    pub(super) fn new() -> Self {
        Record {
            bytes: vec![0; RECORD_HEADER],
        }
    }

    /// Empties it for the next commit; keeps its memory unless that is large.
    pub(super) fn clear(&mut self) {
        self.bytes.truncate(RECORD_HEADER);
        self.bytes.shrink_to(1 << 20);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.len() == RECORD_HEADER
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn put(&mut self, key: &str, value: &[u8]) {
        self.bytes.push(PUT);
        self.bytes.extend_from_slice(&(key.len() as u32).to_le_bytes());
        self.bytes.extend_from_slice(&(value.len() as u32).to_le_bytes());
        self.bytes.extend_from_slice(key.as_bytes());
        self.bytes.extend_from_slice(value);
    }

    pub(super) fn delete(&mut self, key: &str) {
        self.bytes.push(DELETE);
        self.bytes.extend_from_slice(&(key.len() as u32).to_le_bytes());
        self.bytes.extend_from_slice(key.as_bytes());
    }

    pub(super) fn compact(&mut self, revision: Revision) {
        self.bytes.push(COMPACT);
        self.bytes.extend_from_slice(&revision.to_le_bytes());
    }

    /// The finished record; `base` is the store's revision before it.
    pub(super) fn seal(&mut self, salt: u64, base: Revision) -> &[u8] {
        let length = (self.bytes.len() - RECORD_HEADER) as u32;
        let crc = record_crc(salt, base, length, &self.bytes[RECORD_HEADER..]);
        self.bytes[0..4].copy_from_slice(&length.to_le_bytes());
        self.bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        self.bytes[8..16].copy_from_slice(&base.to_le_bytes());
        &self.bytes
    }
}

fn record_crc(salt: u64, base: Revision, length: u32, payload: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&salt.to_le_bytes());
    crc.update(&base.to_le_bytes());
    crc.update(&length.to_le_bytes());
    crc.update(payload);
    crc.finalize()
}

/// A log that is open for appending.
#[derive(Debug)]
pub(super) struct LogFile {
    file: File,
    salt: u64,
    /// Revision of the store when it was begun: the number in its name.
    pub(super) base: Revision,
    /// Bytes that hold: the next record goes here.
    pub(super) len: u64,
    /// Size of the file; from `len` on it holds zeros.
    allocated: u64,
    /// How far to allocate at a time. Overwriting zeros spares the file system from recording a new size
    /// with every sync.
    ahead: u64,
}

impl LogFile {
    /// Creates the log that follows revision `base`, durably, in a spare file when there is one.
    pub(super) fn create(disk: &Disk, base: Revision, ahead: u64, spare: Option<Spare>) -> io::Result<Self> {
        // The hasher's keys come from the operating system's randomness.
        let salt = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), base);
        let mut header = [0; FILE_HEADER];
        header[0..8].copy_from_slice(MAGIC);
        header[8..12].copy_from_slice(&VERSION.to_le_bytes());
        header[16..24].copy_from_slice(&base.to_le_bytes());
        header[24..32].copy_from_slice(&salt.to_le_bytes());
        let crc = header_crc(&header);
        header[12..16].copy_from_slice(&crc.to_le_bytes());
        let file = match spare {
            Some(spare) => disk.adopt(spare, Kind::Log, base, &header)?,
            None => disk.publish(Kind::Log, base, |writer| writer.write_all(&header))?,
        };
        let len = FILE_HEADER as u64;
        let allocated = file.metadata()?.len();
        Ok(LogFile {
            file,
            salt,
            base,
            len,
            allocated,
            ahead,
        })
    }

    /// Opens a log that was read back, cutting what is behind its records unless that is zeros.
    pub(super) fn reopen(path: &Path, base: Revision, read: &LogContent, ahead: u64) -> io::Result<Self> {
        let file = File::options().read(true).write(true).open(path)?;
        let mut allocated = file.metadata()?.len();
        if read.torn {
            file.set_len(read.len)?;
            allocated = read.len;
        }
        // Where the last process could not sync its last record, what was read back may be in memory alone,
        // and taken for written by the kernel: it is served from now on, so it is written anew.
        let mut record = vec![0; (read.len - read.newest) as usize];
        file.read_exact_at(&mut record, read.newest)?;
        file.write_all_at(&record, read.newest)?;
        file.sync_all()?;
        Ok(LogFile {
            file,
            salt: read.salt,
            base,
            len: read.len,
            allocated,
            ahead,
        })
    }

    /// Appends a record and makes it durable. After an error nothing may be appended any more: what
    /// the file holds then is unknown.
    pub(super) fn append(&mut self, disk: &Disk, record: &mut Record, base: Revision) -> io::Result<()> {
        let bytes = record.seal(self.salt, base);
        let end = self.len + bytes.len() as u64;
        disk.append(&self.file, bytes, self.len)?;
        if end > self.allocated {
            self.allocate(end);
        }
        disk.sync(&self.file)?;
        self.len = end;
        Ok(())
    }

    /// Writes zeros behind `end`. That they don't fit is no error yet.
    fn allocate(&mut self, end: u64) {
        static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
        self.allocated = end;
        let target = end + self.ahead;
        while self.allocated < target {
            let size = (target - self.allocated).min(ZEROS.len() as u64);
            if self
                .file
                .write_all_at(&ZEROS[..size as usize], self.allocated)
                .is_err()
            {
                return;
            }
            self.allocated += size;
        }
    }
}

/// CRC of a file header without its own field.
pub(super) fn header_crc(header: &[u8; FILE_HEADER]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&header[..12]);
    crc.update(&header[16..]);
    crc.finalize()
}

/// Checks magic, version and CRC of a file's header; gives its two numbers.
pub(super) fn read_header(path: &Path, data: &[u8], magic: &[u8; 8], version: u32) -> Result<(u64, u64)> {
    let corrupt = |reason: &str| Error::Corrupt {
        path: path.to_owned(),
        offset: 0,
        reason: reason.to_owned(),
    };
    let header: &[u8; FILE_HEADER] = data
        .first_chunk()
        .ok_or_else(|| corrupt("header is incomplete"))?;
    if &header[..8] != magic {
        return Err(corrupt("this is no file of a store"));
    }
    if header_crc(header) != u32_at(header, 12) {
        return Err(corrupt("header checksum does not match"));
    }
    if u32_at(header, 8) != version {
        return Err(corrupt(&format!(
            "format version {} is not known, only {version}",
            u32_at(header, 8)
        )));
    }
    Ok((u64_at(header, 16), u64_at(header, 24)))
}

/// A log read back.
#[derive(Debug)]
pub(super) struct LogContent {
    pub(super) salt: u64,
    /// Records in order: the revision before each, and what it changes.
    pub(super) records: Vec<(Revision, Vec<Mutation>)>,
    /// Where the last record begins; `len` when there is none.
    pub(super) newest: u64,
    /// Bytes that hold.
    pub(super) len: u64,
    /// Behind them is an unfinished record, not only zeros.
    pub(super) torn: bool,
}

/// Reads a log. `last`: it is the newest one, so its last record may be incomplete and is then left
/// out of `len`.
pub(super) fn read(path: &Path, data: &[u8], base: Revision, last: bool) -> Result<LogContent> {
    let corrupt = |offset: usize, reason: String| Error::Corrupt {
        path: path.to_owned(),
        offset: offset as u64,
        reason,
    };
    let (named, salt) = read_header(path, data, MAGIC, VERSION)?;
    if named != base {
        return Err(corrupt(
            0,
            format!("it begins at revision {named}, its name says {base}"),
        ));
    }
    let mut records = Vec::new();
    let mut revision = base;
    let mut offset = FILE_HEADER;
    let mut newest = offset;
    let mut torn = false;
    while offset < data.len() {
        // No record is all zeros, since its length isn't. So this is what was allocated ahead; had records
        // been lost here, the next log would not continue where this one ends.
        if data[offset] == 0 && data[offset..].iter().all(|byte| *byte == 0) {
            break;
        }
        let Some((at, payload)) = sound_record(salt, &data[offset..]) else {
            if !last {
                return Err(corrupt(
                    offset,
                    "record checksum does not match and a newer log exists".into(),
                ));
            }
            if let Some(later) = find_sound_record(salt, revision, data, offset + 1) {
                let reason =
                    format!("record checksum does not match and a sound record follows at byte {later}");
                return Err(corrupt(offset, reason));
            }
            tracing::warn!(
                path = %path.display(), offset, bytes = data.len() - offset,
                "cutting an unfinished record that was never acknowledged"
            );
            torn = true;
            break;
        };
        if at != revision {
            return Err(corrupt(
                offset,
                format!("record follows revision {at}, expected {revision}"),
            ));
        }
        let mutations = parse(payload).ok_or_else(|| corrupt(offset, "record cannot be parsed".into()))?;
        let revisions = mutations
            .iter()
            .filter(|m| !matches!(m, Mutation::Compact { .. }))
            .count();
        records.push((revision, mutations));
        revision += revisions as u64;
        newest = offset;
        offset += RECORD_HEADER + payload.len();
    }
    Ok(LogContent {
        salt,
        records,
        newest: newest as u64,
        len: offset as u64,
        torn,
    })
}

/// The record at the start of `data`, if it is complete and its checksum holds.
fn sound_record(salt: u64, data: &[u8]) -> Option<(Revision, &[u8])> {
    let header: &[u8; RECORD_HEADER] = data.first_chunk()?;
    let length = u32_at(header, 0);
    let payload = data[RECORD_HEADER..].get(..length as usize)?;
    let base = u64_at(header, 8);
    (length > 0 && record_crc(salt, base, length, payload) == u32_at(header, 4)).then_some((base, payload))
}

/// Offset of a sound record at or behind `from` that continues after `revision`, wherever it lies: the
/// length of the record before it can't be trusted.
fn find_sound_record(salt: u64, revision: Revision, data: &[u8], from: usize) -> Option<usize> {
    let possible = revision..=revision + data.len() as u64;
    (from..data.len().saturating_sub(RECORD_HEADER)).find(|&offset| {
        // Cheap test first: nearly no offset passes it.
        possible.contains(&u64_at(&data[offset..], 8)) && sound_record(salt, &data[offset..]).is_some()
    })
}

fn parse(mut data: &[u8]) -> Option<Vec<Mutation>> {
    let mut mutations = Vec::new();
    while let Some((&tag, rest)) = data.split_first() {
        data = rest;
        mutations.push(match tag {
            PUT => {
                let (key, value) = (take_u32(&mut data)? as usize, take_u32(&mut data)? as usize);
                let key = take_str(&mut data, key)?;
                let (value, rest) = data
                    .split_at_checked(value)
                    .filter(|(value, _)| value.len() <= MAX_VALUE)?;
                data = rest;
                Mutation::Put {
                    key,
                    value: Bytes::copy_from_slice(value),
                }
            }
            DELETE => {
                let key = take_u32(&mut data)? as usize;
                Mutation::Delete {
                    key: take_str(&mut data, key)?,
                }
            }
            COMPACT => {
                let (revision, rest) = data.split_first_chunk()?;
                data = rest;
                Mutation::Compact {
                    revision: u64::from_le_bytes(*revision),
                }
            }
            _ => return None,
        });
    }
    Some(mutations)
}

fn take_u32(data: &mut &[u8]) -> Option<u32> {
    let (number, rest) = data.split_first_chunk()?;
    *data = rest;
    Some(u32::from_le_bytes(*number))
}

fn take_str(data: &mut &[u8], length: usize) -> Option<Arc<str>> {
    let (text, rest) = data.split_at_checked(length).filter(|_| length <= MAX_KEY)?;
    *data = rest;
    std::str::from_utf8(text).ok().map(Arc::from)
}

/// The number at an offset that the caller knows to be inside.
pub(super) fn u32_at(data: &[u8], offset: usize) -> u32 {
    data[offset..]
        .first_chunk()
        .copied()
        .map_or(0, u32::from_le_bytes)
}

/// The number at an offset that the caller knows to be inside.
pub(super) fn u64_at(data: &[u8], offset: usize) -> u64 {
    data[offset..]
        .first_chunk()
        .copied()
        .map_or(0, u64::from_le_bytes)
}
