//! Files as a tar archive that is made while it is sent.

use std::io::Write;

use bytes::Bytes;
use futures::StreamExt as _;
use rkind_driver::{ByteStream, Content, Error, File};
use tokio::sync::mpsc;

/// Bytes that gather before they are sent.
const CHUNK: usize = 256 << 10;

/// A writer whose other end is a stream.
struct ChannelWriter {
    sender: mpsc::Sender<Result<Bytes, Error>>,
    buffer: Vec<u8>,
}

impl ChannelWriter {
    fn send(&mut self) -> std::io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK));
        self.sender
            .blocking_send(Ok(chunk.into()))
            .map_err(|_| std::io::Error::new(std::io::ErrorKind::BrokenPipe, "the receiver is gone"))
    }
}

impl Write for ChannelWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= CHUNK {
            self.send()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.send()
    }
}

pub(crate) fn from_channel(receiver: mpsc::Receiver<Result<Bytes, Error>>) -> ByteStream {
    futures::stream::unfold(receiver, |mut receiver| async {
        Some((receiver.recv().await?, receiver))
    })
    .boxed()
}

/// When a file was changed, in seconds since the epoch.
pub(crate) fn seconds(meta: &std::fs::Metadata) -> Option<u64> {
    let time = meta.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(time.as_secs())
}

/// The archive, with names relative to `/`.
pub(crate) fn archive(files: Vec<File>) -> ByteStream {
    let (sender, receiver) = mpsc::channel(4);
    tokio::task::spawn_blocking(move || {
        let errors = sender.clone();
        let writer = ChannelWriter {
            sender,
            buffer: Vec::with_capacity(CHUNK),
        };
        if let Err(error) = write(files, writer) {
            // Without a receiver nobody wants to know.
            let _ = errors.blocking_send(Err(error));
        }
    });
    from_channel(receiver)
}

fn write(files: Vec<File>, writer: ChannelWriter) -> Result<(), Error> {
    let mut builder = tar::Builder::new(writer);
    let sending = |e: std::io::Error| Error::backend("send files to the node", e);
    for file in files {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(file.mode);
        header.set_mtime(0);
        let name = file.path.trim_start_matches('/').to_owned();
        match file.content {
            Content::Bytes(bytes) => {
                header.set_size(bytes.len() as u64);
                builder
                    .append_data(&mut header, &name, bytes.as_ref())
                    .map_err(sending)?;
            }
            Content::Path(path) => {
                let open = std::fs::File::open(&path).and_then(|f| Ok((f.metadata()?.len(), f)));
                let (size, from) = open.map_err(|source| Error::ReadFile {
                    path: path.clone(),
                    source,
                })?;
                header.set_size(size);
                builder.append_data(&mut header, &name, from).map_err(sending)?;
            }
        }
    }
    builder
        .into_inner()
        .and_then(|mut writer| writer.flush())
        .map_err(sending)
}
