//! Checkpoints: all entries of one snapshot in one file. The format is documented at [`super`]'s head.

use std::{
    fs, io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use imbl::OrdMap;

use super::{
    disk::{Disk, Kind},
    log::{FILE_HEADER, header_crc, read_header, u32_at, u64_at},
    snapshot::Snapshot,
    texts::Texts,
};
use crate::{Entry, Error, Result, Revision};

const MAGIC: &[u8; 8] = b"RKINDCKP";
const VERSION: u32 = 1;
/// Data bytes after which a block ends.
const BLOCK: usize = 1 << 20;
const BLOCK_HEADER: usize = 8;
const ENTRY_HEADER: usize = 24;

/// Writes the snapshot as a checkpoint, durably, then removes what it replaces. Gives its size in
/// bytes; `None` when `stop` was set meanwhile.
pub(super) fn write(disk: &Disk, snapshot: &Snapshot, stop: &Arc<AtomicBool>) -> io::Result<Option<u64>> {
    let mut size = 0;
    let result = disk.publish(Kind::Checkpoint, snapshot.revision, |writer| {
        size = fill(writer, snapshot, stop)?;
        Ok(())
    });
    match result {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::Interrupted && stop.load(Ordering::Relaxed) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    }
    disk.remove_before(Kind::Log, snapshot.revision);
    disk.remove_before(Kind::Checkpoint, snapshot.revision);
    Ok(Some(size))
}

fn fill(writer: &mut dyn io::Write, snapshot: &Snapshot, stop: &AtomicBool) -> io::Result<u64> {
    let mut header = [0; FILE_HEADER];
    header[0..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[16..24].copy_from_slice(&snapshot.revision.to_le_bytes());
    header[24..32].copy_from_slice(&(snapshot.map.len() as u64).to_le_bytes());
    let crc = header_crc(&header);
    header[12..16].copy_from_slice(&crc.to_le_bytes());
    writer.write_all(&header)?;
    let mut size = FILE_HEADER as u64;
    let mut block = Vec::with_capacity(BLOCK + (64 << 10));
    let mut flush = |block: &mut Vec<u8>| -> io::Result<()> {
        writer.write_all(&(block.len() as u32).to_le_bytes())?;
        writer.write_all(&crc32fast::hash(block).to_le_bytes())?;
        writer.write_all(block)?;
        size += (BLOCK_HEADER + block.len()) as u64;
        block.clear();
        Ok(())
    };
    for (key, entry) in &snapshot.map {
        block.extend_from_slice(&(key.len() as u32).to_le_bytes());
        block.extend_from_slice(&(entry.value.len() as u32).to_le_bytes());
        block.extend_from_slice(&entry.create_revision.to_le_bytes());
        block.extend_from_slice(&entry.mod_revision.to_le_bytes());
        block.extend_from_slice(key.as_bytes());
        entry.value.write(&mut block);
        if block.len() >= BLOCK {
            flush(&mut block)?;
            if stop.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::Interrupted.into());
            }
        }
    }
    if !block.is_empty() {
        flush(&mut block)?;
    }
    Ok(size)
}

/// Reads a checkpoint: its state (without history) and its size in bytes.
pub(super) fn read(path: &Path, revision: Revision, texts: &Texts) -> Result<(Snapshot, u64)> {
    let data = fs::read(path).map_err(|source| Error::io(format!("read {}", path.display()), source))?;
    let corrupt = |offset: usize, reason: &str| Error::Corrupt {
        path: path.to_owned(),
        offset: offset as u64,
        reason: reason.to_owned(),
    };
    let (named, count) = read_header(path, &data, MAGIC, VERSION)?;
    if named != revision {
        return Err(corrupt(0, "its revision differs from the one in its name"));
    }
    let mut entries = Vec::with_capacity(usize::try_from(count).unwrap_or(0).min(data.len() / ENTRY_HEADER));
    let mut offset = FILE_HEADER;
    while offset < data.len() {
        let block = data
            .get(offset..offset + BLOCK_HEADER)
            .and_then(|header| data[offset + BLOCK_HEADER..].get(..u32_at(header, 0) as usize))
            .ok_or_else(|| corrupt(offset, "block is incomplete"))?;
        if crc32fast::hash(block) != u32_at(&data[offset..], 4) {
            return Err(corrupt(offset, "block checksum does not match"));
        }
        parse(block, revision, texts, &mut entries)
            .ok_or_else(|| corrupt(offset, "block cannot be parsed"))?;
        offset += BLOCK_HEADER + block.len();
    }
    if entries.len() as u64 != count {
        return Err(corrupt(offset, "number of entries differs from the header's"));
    }
    if !entries.is_sorted_by(|(a, _), (b, _)| a < b) {
        return Err(corrupt(FILE_HEADER, "keys are not in order"));
    }
    let map = entries.into_iter().collect::<OrdMap<_, _>>();
    let size = data.len() as u64;
    Ok((
        Snapshot {
            revision,
            compacted: revision,
            map,
            ..Snapshot::empty()
        },
        size,
    ))
}

fn parse(
    mut data: &[u8],
    newest: Revision,
    texts: &Texts,
    entries: &mut Vec<(Arc<str>, Arc<Entry>)>,
) -> Option<()> {
    while !data.is_empty() {
        let (header, rest) = data.split_at_checked(ENTRY_HEADER)?;
        let (key, rest) = rest.split_at_checked(u32_at(header, 0) as usize)?;
        let (value, rest) = rest.split_at_checked(u32_at(header, 4) as usize)?;
        let key: Arc<str> = std::str::from_utf8(key).ok()?.into();
        let (create_revision, mod_revision) = (u64_at(header, 8), u64_at(header, 16));
        if create_revision > mod_revision || mod_revision > newest {
            return None;
        }
        let value = texts.hold(value);
        entries.push((
            key.clone(),
            Arc::new(Entry {
                key,
                value,
                create_revision,
                mod_revision,
            }),
        ));
        data = rest;
    }
    Some(())
}
