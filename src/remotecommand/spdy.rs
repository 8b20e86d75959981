//! SPDY/3.1 framing, as remotecommand uses it: streams opened by the client, data, ends.
//!
//! Flow control is not part of it: the peers here neither send nor expect window updates.
//! The dictionary is section 2.6.10.1 of the SPDY/3 draft.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use tokio::io::{AsyncRead, AsyncReadExt};

const DICTIONARY: &[u8] = include_bytes!("spdy/dictionary.bin");
const VERSION: u16 = 3;
/// A frame's length is 24 bits.
const MAX_FRAME: usize = (1 << 24) - 1;
const FIN: u8 = 1;

/// What went wrong on a SPDY connection.
#[derive(Debug, thiserror::Error)]
pub enum SpdyError {
    #[error("the SPDY connection broke")]
    Io(#[from] std::io::Error),
    #[error("malformed SPDY frame: {0}")]
    Malformed(&'static str),
}

/// Name and value pairs of a stream.
pub(crate) type Headers = Vec<(String, String)>;

/// A frame, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    SynStream {
        id: u32,
        headers: Headers,
        fin: bool,
    },
    SynReply {
        id: u32,
        headers: Headers,
        fin: bool,
    },
    Data {
        id: u32,
        data: Bytes,
        fin: bool,
    },
    Reset {
        id: u32,
        status: u32,
    },
    Ping {
        id: u32,
    },
    GoAway,
    /// Settings, window updates, further headers.
    Other,
}

/// Writes frames. Header compression runs through the whole connection, so there is one per connection.
pub(crate) struct Encoder {
    compress: Compress,
}

impl Encoder {
    pub(crate) fn new() -> Result<Self, SpdyError> {
        let mut compress = Compress::new(Compression::best(), true);
        compress
            .set_dictionary(DICTIONARY)
            .map_err(|_| SpdyError::Malformed("no preset dictionary"))?;
        Ok(Self { compress })
    }

    fn headers(&mut self, headers: &Headers) -> Result<Vec<u8>, SpdyError> {
        let mut plain = BytesMut::new();
        plain.put_u32(u32::try_from(headers.len()).map_err(|_| SpdyError::Malformed("too many headers"))?);
        for (name, value) in headers {
            for text in [name, value] {
                plain
                    .put_u32(u32::try_from(text.len()).map_err(|_| SpdyError::Malformed("header too long"))?);
                plain.put_slice(text.as_bytes());
            }
        }
        let mut out = Vec::with_capacity(plain.len() + 64);
        let mut done = 0usize;
        loop {
            out.reserve(256);
            let (before_in, before_out) = (self.compress.total_in(), self.compress.total_out());
            self.compress
                .compress_vec(&plain[done..], &mut out, FlushCompress::Sync)
                .map_err(|_| SpdyError::Malformed("headers do not compress"))?;
            done += usize::try_from(self.compress.total_in() - before_in).unwrap_or(0);
            let produced = self.compress.total_out() - before_out;
            if done >= plain.len() && (out.len() < out.capacity() || produced == 0) {
                return Ok(out);
            }
        }
    }

    /// Opens a stream. Ids of a client are odd and rise.
    pub(crate) fn syn_stream(
        &mut self,
        id: u32,
        headers: &Headers,
        out: &mut BytesMut,
    ) -> Result<(), SpdyError> {
        let block = self.headers(headers)?;
        control(out, 1, 0, block.len() + 10);
        out.put_u32(id);
        out.put_u32(0);
        out.put_u16(0);
        out.put_slice(&block);
        Ok(())
    }

    /// Accepts a stream.
    #[cfg(test)]
    pub(crate) fn syn_reply(
        &mut self,
        id: u32,
        headers: &Headers,
        out: &mut BytesMut,
    ) -> Result<(), SpdyError> {
        let block = self.headers(headers)?;
        control(out, 2, 0, block.len() + 4);
        out.put_u32(id);
        out.put_slice(&block);
        Ok(())
    }
}

fn control(out: &mut BytesMut, kind: u16, flags: u8, length: usize) {
    out.put_u16(0x8000 | VERSION);
    out.put_u16(kind);
    out.put_u32((u32::from(flags) << 24) | u32::try_from(length.min(MAX_FRAME)).unwrap_or(0));
}

/// Data of a stream; `fin` ends this direction.
pub(crate) fn data(id: u32, bytes: &[u8], fin: bool, out: &mut BytesMut) {
    let mut chunks = bytes.chunks(MAX_FRAME).peekable();
    if bytes.is_empty() {
        out.put_u32(id & 0x7fff_ffff);
        out.put_u32(if fin { u32::from(FIN) << 24 } else { 0 });
    }
    while let Some(chunk) = chunks.next() {
        let flags = if fin && chunks.peek().is_none() {
            u32::from(FIN) << 24
        } else {
            0
        };
        out.put_u32(id & 0x7fff_ffff);
        out.put_u32(flags | u32::try_from(chunk.len()).unwrap_or(0));
        out.put_slice(chunk);
    }
}

/// Answers a ping.
pub(crate) fn ping(id: u32, out: &mut BytesMut) {
    control(out, 6, 0, 4);
    out.put_u32(id);
}

/// Reads frames.
pub(crate) struct Decoder<R> {
    reader: R,
    buffer: BytesMut,
    decompress: Decompress,
    dictionary_set: bool,
}

impl<R: AsyncRead + Unpin> Decoder<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self {
            reader,
            buffer: BytesMut::new(),
            decompress: Decompress::new(true),
            dictionary_set: false,
        }
    }

    /// The next frame; `None` at the connection's end. Cancelling it loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Option<Frame>, SpdyError> {
        while !self.has_frame() {
            if self.reader.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
        let mut head = self.buffer.split_to(8);
        let first = head.get_u32();
        let second = head.get_u32();
        let flags = (second >> 24) as u8;
        let mut body = self.buffer.split_to((second & 0x00ff_ffff) as usize).freeze();
        if first & 0x8000_0000 == 0 {
            return Ok(Some(Frame::Data {
                id: first,
                data: body,
                fin: flags & FIN != 0,
            }));
        }
        let need = |body: &Bytes, n: usize| {
            if body.len() < n {
                Err(SpdyError::Malformed("frame too short"))
            } else {
                Ok(())
            }
        };
        Ok(Some(match first & 0xffff {
            1 => {
                need(&body, 10)?;
                let id = body.get_u32() & 0x7fff_ffff;
                body.advance(6);
                Frame::SynStream {
                    id,
                    headers: self.headers(&body)?,
                    fin: flags & FIN != 0,
                }
            }
            2 => {
                need(&body, 4)?;
                let id = body.get_u32() & 0x7fff_ffff;
                Frame::SynReply {
                    id,
                    headers: self.headers(&body)?,
                    fin: flags & FIN != 0,
                }
            }
            3 => {
                need(&body, 8)?;
                Frame::Reset {
                    id: body.get_u32() & 0x7fff_ffff,
                    status: body.get_u32(),
                }
            }
            6 => {
                need(&body, 4)?;
                Frame::Ping { id: body.get_u32() }
            }
            7 => Frame::GoAway,
            8 => {
                need(&body, 4)?;
                body.advance(4);
                // Unused, but the compression's state runs on through it.
                self.headers(&body)?;
                Frame::Other
            }
            _ => Frame::Other,
        }))
    }

    fn has_frame(&self) -> bool {
        let Some(head) = self.buffer.get(4..8) else {
            return false;
        };
        let length = usize::from(head[1]) << 16 | usize::from(head[2]) << 8 | usize::from(head[3]);
        self.buffer.len() >= 8 + length
    }

    fn headers(&mut self, block: &[u8]) -> Result<Headers, SpdyError> {
        let mut plain = Vec::with_capacity(1024);
        let mut done = 0usize;
        while done < block.len() {
            plain.reserve(1024);
            let before = self.decompress.total_in();
            let result = self
                .decompress
                .decompress_vec(&block[done..], &mut plain, FlushDecompress::Sync);
            done += usize::try_from(self.decompress.total_in() - before).unwrap_or(0);
            match result {
                Ok(Status::Ok | Status::BufError) => {}
                Ok(Status::StreamEnd) => break,
                Err(error) if error.needs_dictionary().is_some() && !self.dictionary_set => {
                    self.dictionary_set = true;
                    self.decompress
                        .set_dictionary(DICTIONARY)
                        .map_err(|_| SpdyError::Malformed("unknown dictionary"))?;
                }
                Err(_) => return Err(SpdyError::Malformed("headers do not decompress")),
            }
            if plain.len() > 1 << 20 {
                return Err(SpdyError::Malformed("headers too long"));
            }
        }
        parse_headers(&plain)
    }
}

fn parse_headers(mut plain: &[u8]) -> Result<Headers, SpdyError> {
    let short = SpdyError::Malformed("header block too short");
    let number = |plain: &mut &[u8]| {
        if plain.len() < 4 {
            None
        } else {
            Some(plain.get_u32() as usize)
        }
    };
    let Some(count) = number(&mut plain) else {
        return Err(short);
    };
    let mut headers = Headers::new();
    for _ in 0..count.min(1000) {
        let mut pair = [String::new(), String::new()];
        for text in &mut pair {
            let length = number(&mut plain).filter(|n| *n <= plain.len());
            let Some(length) = length else {
                return Err(SpdyError::Malformed("header block too short"));
            };
            *text = String::from_utf8_lossy(&plain[..length]).into_owned();
            plain.advance(length);
        }
        let [name, value] = pair;
        headers.push((name, value));
    }
    Ok(headers)
}

#[cfg(test)]
mod tests;
